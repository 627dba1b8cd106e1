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


def test_who_was_held_up_does_not_call_the_others_silent() -> None:
    """Nothing could be heard while the one who listens was busy; real silence counts on from there."""
    dog = Watchdog({"scan": 0.4}, now_s=10.0, attention_s=0.1)
    assert dog.silent(10.05) == ()
    assert dog.silent(11.0) == ()
    assert [dog.silent(11.0 + 0.05 * k) for k in range(1, 8)] == [()] * 4 + [("scan",)] * 3
    # A start that lies ahead stays where it is.
    late = Watchdog({"scan": 0.4}, now_s=12.0, attention_s=0.1)
    assert late.silent(10.0) == () and late.silent(11.9) == ()
    assert [late.silent(12.0 + 0.09 * k) for k in range(1, 6)] == [()] * 4 + [("scan",)]


def test_who_has_not_spoken_yet_has_more_time_and_then_no_more() -> None:
    dog = Watchdog({"scan": 1.0, "odom": 1.0}, 0.0, grace_s={"scan": 5.0})
    assert dog.silent(1.5) == ("odom",)
    dog.heard("odom", 5.5)
    assert dog.silent(5.9) == () and dog.silent(6.1) == ("scan",)
    dog.heard("scan", 6.2)
    dog.heard("odom", 6.2)
    assert dog.silent(7.1) == () and dog.silent(7.3) == ("scan", "odom")
