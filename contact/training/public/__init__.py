"""Public data as training samples: questions, answers and masks made at run time from a dataset's own truth.

sources = [ContactSource(open_dataset("damon", root, "trainval", per="object"), ("human",))]
stage = Stage(Gallery(network, ZBufferRenderer(), ViewCache()), body, PartWords.of(body.parts))
lessons = TrainingSet(Mixture([Share(1.0, sources)], seed=0), SampleMaker(stage, tokenizer), batch=8)
parts = training_step(network, lessons.batch(step))

What the published models were trained with is in :mod:`~hoirecon.contact.training.public.recipes`.
"""
