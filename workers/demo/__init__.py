"""`outdial demo`: the main job from nothing to a proof, on stores of its own."""
