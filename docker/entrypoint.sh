#!/bin/bash
# Runs a command with ROS 2 and mm_nav sourced. A launch file that starts the stack is watched: for the health check, and so that a
# stack that hangs ends, and is started anew by Docker.
set -e
# shellcheck disable=SC1090,SC1091
source "/opt/ros/${ROS_DISTRO}/setup.bash"
# shellcheck disable=SC1091
source /opt/mm_nav/setup.bash
export PATH="/opt/mm_nav/lib/mm_nav:${PATH}"
if [ "$1 $2" = "ros2 launch" ]; then
  namespace="" watched=yes
  for word in "$@"; do
    case "${word}" in
      namespace:=*) namespace="${word#*:=}" ;;
      stack:=false | robots:=?* | -s | --show-args | -p | --print) watched=no ;;
    esac
  done
  if [ "${watched}" = yes ]; then
    exec python3 -m mm_nav.ros.stack_watch --heartbeat "${MM_NAV_HEARTBEAT}" --namespace "${namespace}" \
      --patience "${MM_NAV_PATIENCE:-60}" -- "$@"
  fi
fi
exec "$@"
