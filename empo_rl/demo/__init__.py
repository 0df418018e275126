"""The demo, `empo-train demo`: the recipe `tiny` with an evaluation on held-out questions, and a table of the results.

    demo_run        options -> run of the recipe -> summary, picture, table
    held_out        the trainer callback that evaluates the model before, during and after training
    demo_directory  the output directory: replace, resume, tidy up

The training questions are `empo_rl.data.arithmetic`, the base model is `empo_rl.run.tiny_model`, and the training is
`empo_rl.run.train`.
"""
