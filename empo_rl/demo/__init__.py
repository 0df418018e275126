"""The demo, `empo-train demo`: the recipe `tiny` with an evaluation on held-out questions, and a table of the results.

    demo_run        options -> run of the recipe -> summary, picture, table
    held_out        the trainer callback that evaluates the model before, during and after training
    demo_directory  the output directory: replace, resume, tidy up

`empo_rl.data.arithmetic` generates the questions, `empo_rl.run.tiny_model` creates the base model, and
`empo_rl.run.train` trains the model.
"""
