"""At each step of a unit's way, whatever happens: nothing is lost, and the next run ends it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import archive_oracle as oracle
import matrix
import pytest
from matrix import COURSES, KILLED, REFUSED, Course, Crew, Site
from reliability import LEFT
from servers import moments
from servers.databases import Tables
from servers.moments import Moment, Tamper

pytestmark = pytest.mark.skipif(not moments.POSSIBLE, reason="x86-64 registers are read")

HELD = "held for longer than its lease"

Cases = Callable[[str, str], None]
Sites = Callable[[str, Course], Site]


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    with matrix.crew() as crew:
        yield crew


@pytest.fixture
def site(tmp_path: Path, crew: Crew, tables: Tables) -> Sites:
    """Makes a course ready, in a folder of a name."""
    return lambda name, course: Site(tmp_path / name, course, crew, tables.file)


@pytest.fixture
def passed(record_property: Callable[[str, object], None]) -> Cases:
    """Tells the table of a case that has passed."""

    def passed(row: str, column: str) -> None:
        record_property("matrix", (row, column))

    return passed


@pytest.mark.parametrize("what", KILLED)
@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.name)
def test_who_is_killed_has_lost_nothing(
    site: Sites, passed: Cases, course: Course, what: str
) -> None:
    calm = site("calm", course)
    undisturbed = calm.disturbed(None)
    assert (undisturbed.status, undisturbed.raised) == (0, None)
    for number, moment in enumerate(matrix.changes(course, undisturbed, what)):
        there = site(str(number), course)
        done = there.disturbed(Tamper(moment, what))
        assert (done.status, bool(done.hit)) == (-9, True), moment
        there.check()
        there.converge()
        there.idle()
        passed(matrix.row(course, moment), KILLED[what])
        for left in there.left_over():
            passed(f"{LEFT}{left}", KILLED[what])


@pytest.mark.parametrize("error", matrix.AREAS)
@pytest.mark.parametrize("course", REFUSED, ids=lambda course: course.name)
def test_what_is_refused_is_told_and_done_later(
    site: Sites, passed: Cases, course: Course, error: str
) -> None:
    calm = site("calm", course)
    undisturbed = calm.disturbed(None)
    assert (undisturbed.status, undisturbed.raised) == (0, None)
    times = 1 if error == "EIO" else 3
    for number, moment in enumerate(matrix.refusals(course, undisturbed, error)):
        there = site(str(number), course)
        done = there.disturbed(Tamper(moment, error, times))
        assert (done.status, bool(done.hit)) == (0, True), moment
        assert matrix.is_told(course, done), (moment, done.raised)
        there.check()
        there.converge()
        there.idle()
        passed(matrix.row(course, moment), f"{error}, {moment.area}")
        for left in there.left_over():
            passed(f"{LEFT}{left}", error)


def test_who_sleeps_for_longer_than_a_lease_does_no_harm(
    site: Sites, passed: Cases, crew: Crew
) -> None:
    undisturbed = site("calm", matrix.SLEEPER).disturbed(None)
    with matrix.crew() as others:
        for number, moment in enumerate(matrix.sleeping(undisturbed)):
            there = site(str(number), matrix.SLEEPER)
            crew.begin(there.folder, "apply", there.areas, Tamper(moment, "hold"))
            crew.held()
            done = others.do(there.folder, "apply")
            assert (done.status, done.raised) == (0, None), done
            there.check()
            there.check_end()
            before = there.volume()
            crew.go_on()
            slept = crew.end()
            assert (slept.status, slept.raised) == (0, None), (moment, slept)
            there.check()
            there.check_end()
            assert there.volume() == before, moment
            there.idle()
            passed(matrix.row(matrix.SLEEPER, moment), HELD)
            for left in there.left_over():
                passed(f"{LEFT}{left}", HELD)


@pytest.mark.parametrize("seen", matrix.SEEN, ids=lambda seen: seen[0])
def test_what_a_target_loses_meanwhile_is_sent_again_or_keeps_the_unit(
    site: Sites, passed: Cases, crew: Crew, seen: tuple[str, str, tuple[str, ...]]
) -> None:
    step, area, harms = seen
    course = next(course for course in COURSES if course.name == "archive")
    moment = matrix.first(site("calm", course).disturbed(None), step, area)
    for harm in harms:
        there = site(harm, course)
        crew.begin(there.folder, "apply", there.areas, Tamper(moment, "hold"))
        crew.held()
        (harmed,) = (there.folder / "target" / "data").rglob("b")
        matrix.HARM[harm](harmed)
        crew.go_on()
        done = crew.end()
        assert (done.status, done.raised) == (0, None), done
        ((_, state, reason),) = done.became
        if step == "copied":
            assert (state, reason) == ("deleted", None)
            assert there.homeless() == []
        else:
            assert (state, "deep/er/b" in reason) == ("binned", True)
            (kept,) = oracle.binned(there.bin)
            assert kept.tree.keys() == there.unit.members
            assert there.crew.do(there.folder, "apply").became == done.became
        passed(step, harm)


@pytest.mark.parametrize("harm", matrix.HARM)
@pytest.mark.parametrize("what", ["data/**/b", "manifests/*"])
def test_the_oracle_sees_what_is_lost(site: Sites, what: str, harm: str) -> None:
    there = site("there", next(course for course in COURSES if course.name == "archive"))
    there.disturbed(None)
    there.check()
    (harmed,) = (there.folder / "target").glob(what)
    matrix.HARM[harm](harmed)
    assert there.homeless() != []


def test_parts_that_were_sent_before_a_kill_are_not_read_again(site: Sites, crew: Crew) -> None:
    course = next(course for course in COURSES if course.name == "large file")
    calm, there = site("calm", course), site("there", course)

    def reads(of: Site) -> int:
        """How many pieces of 1 MiB are read of the source of the large file."""
        areas = {"large": f"{of.root}/large", **of.areas}
        done = crew.do(of.folder, "apply", areas)
        assert (done.status, done.raised) == (0, None), done
        return sum(each.area == "large" and each.call == "pread64" for each in done.moments)

    second_part = Moment("claimed", "run folder", "write", 2)  # of the journal
    assert there.disturbed(Tamper(second_part, "after")).status == -signal.SIGKILL
    assert (reads(calm), reads(there)) == (11, 1)
    there.check_end()
