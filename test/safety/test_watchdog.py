"""Silence is measured from the last message, or from the start."""

from mm_nav.safety.watchdog import Watchdog


def test_silence() -> None:
    dog = Watchdog({"scan": 0.4, "odom": 1.0}, now_s=10.0)
    assert dog.names == ("scan", "odom") and dog.silent(10.3) == ()
    assert dog.silent(10.5) == ("scan",)
    dog.heard("scan", 10.5)
    assert dog.silent(10.8) == () and dog.silent(11.1) == ("scan", "odom")


def test_an_old_message_does_not_turn_time_back() -> None:
    dog = Watchdog({"scan": 0.5}, now_s=10.0)
    dog.heard("scan", 9.0)
    assert dog.silent(10.4) == ()
