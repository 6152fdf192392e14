"""The Lightning side of GenLoc: data module, module, callbacks and the run folder."""
