"""The embedded simulator: SDF worlds, ray-cast sensors, a robot with contacts, and worlds made from seeds."""
