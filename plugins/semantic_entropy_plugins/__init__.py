"""The back ends that ship with semantic-entropy, found through the same entry points as anyone's."""
