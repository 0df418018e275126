"""The pictures behind `empo-plot`: one or several runs along their training steps, and evaluations over k."""
