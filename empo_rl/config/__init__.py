"""Configure a training run: schema, loading, batch sizes, prompt templates, recipes, TRL's arguments.

    load_config(NAME, ["key=value"])  ->  Config  ->  trl_arguments.training_arguments(config, processes)

`trl_arguments` also contains the settings of FSDP, DeepSpeed and the trackers; `verl_command` renders the command of
verl. This package imports no torch and no TRL; `training_arguments` imports TRL when it is called.
"""

from empo_rl.config.load import load_config
from empo_rl.config.recipes import recipe_names, recipe_text
from empo_rl.config.schema import Config
from empo_rl.config.templates import TEMPLATES, Template

__all__ = ["TEMPLATES", "Config", "Template", "load_config", "recipe_names", "recipe_text"]
