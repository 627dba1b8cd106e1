"""The stack's processes, in the order in which they come up. `mm-nav demo`, `mm-nav sim` and the launch files start these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeSpec:
    """One process. name: of the node; executable: of `ros2 run mm_nav`; parameters: file in config/, "" = none."""

    name: str
    module: str
    parameters: str = ""

    @property
    def executable(self) -> str:
        """Name of the installed program."""
        return f"mm_nav_{self.name}"


SIMULATOR = NodeSpec("simulator", "mm_nav.ros.simulator_node", "config/simulator.yaml")
STACK = (
    NodeSpec("guard", "mm_nav.ros.guard_node", "config/guard.yaml"),
    NodeSpec("inference", "mm_nav.ros.inference_node", "config/inference.yaml"),
    NodeSpec("navigator", "mm_nav.ros.navigator_node", "config/navigator.yaml"),
)
EMBEDDED = (SIMULATOR, *STACK)
# Beside the stack, where Nav2's tools are to drive it.
NAV2_BRIDGE = NodeSpec("nav2_bridge", "mm_nav.ros.nav2_bridge_node", "config/nav2_bridge.yaml")
