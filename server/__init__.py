"""A REST server for exported models, with a page to try them on.

It speaks as TensorFlow Serving does and serves any SavedModel whose signatures
take and give a row for each example. It reads signatures, cards and reports
that others wrote, and imports nothing of the models.
"""
