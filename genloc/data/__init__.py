"""From files on disk to a `KeypointBatch`. Import the modules themselves."""
