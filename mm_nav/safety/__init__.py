"""The last word before the wheels: a stopping-distance guard and input watchdogs. Small and pure."""
