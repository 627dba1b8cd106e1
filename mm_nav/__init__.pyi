from mm_nav.ros.robot_api import ErrorCode as ErrorCode
from mm_nav.ros.robot_api import Feedback as Feedback
from mm_nav.ros.robot_api import Navigation as Navigation
from mm_nav.ros.robot_api import NavigatorLostError as NavigatorLostError
from mm_nav.ros.robot_api import Outcome as Outcome
from mm_nav.ros.robot_api import Pose2D as Pose2D
from mm_nav.ros.robot_api import Robot as Robot

__version__: str
