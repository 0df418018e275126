"""One training run: launch its processes, load the model, train, save the final model.

    stop_request SIGTERM, which ends a run after its step
    launch       start one process per GPU and end the processes together
    train        `run_training`: from a `Config` to the folder of the trained model
    prompt_rows  the training prompts and the held-out questions, with notes for the user
    models       the model, the tokenizer, the device and the precision
    tiny_model   the base model of `model: demo`, created and pre-trained in the run
    final_model  the folder `final/` and the upload to the hub
    verl_run     `--engine verl`: the files and the command of a run with verl
    model_card   the README of the trained model

Import from the modules: this `__init__` imports nothing, because `train` and `models` import torch and TRL.
"""
