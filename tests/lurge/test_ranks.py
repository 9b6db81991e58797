"""Whatever the number of ranks, a pass gives what threads give; what follows what among ranks."""

import gzip
import threading
import time
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import site_of_tests as site
from office import Office, OfficePost, Team

from lurge.inspector.rows import Bases, Directories, Groups, Put
from lurge.inspector.rules import BaseRule, FileType, Rules
from lurge.inspector.tally import InspectorTally
from lurge.onepass import ranks, threads
from lurge.onepass.ranks import Controller, Kind, Letter, Plan, deal
from lurge.onepass.work import Read, Reading, ScanEmpty, Work
from lurge.puppeteer.rows import Owners
from lurge.puppeteer.tally import VaultTally
from lurge.tallies.marks import MarkTally
from lurge.tallies.owners import By, OwnerTally
from lurge.tallies.tally import SumOverflow, TallyFailed
from lurge_types.batch import Batch
from lurge_types.scans import BadLines, Progress, Scan, Volume
from utils.scanfile import ScanUnreadable

SCAN_TIME = 1_800_000_000
RULES = Rules(
    SCAN_TIME,
    base_rules=(BaseRule(b"/lustre/s1", 3),),
    deeper=(b"users",),
    file_types=(FileType("BAM", (b".bam",)),),
)
MAKERS = (
    partial(OwnerTally, SCAN_TIME),
    partial(MarkTally, [b"/lustre/s1"]),
    partial(InspectorTally, RULES),
    partial(VaultTally, SCAN_TIME, ("Keep",), {}),
)
READING = Reading(block_lines=250, blocks_per_message=2, bad_lines_allowed=0.001)


def work(folder: Path, name: str, text: bytes) -> Work:
    path = folder / f"{name}.gz"
    path.write_bytes(gzip.compress(text, 1))
    return Work(Scan(Volume(name), path, date(2026, 1, 1), SCAN_TIME), MAKERS)


def some(folder: Path, *counts: int) -> list[Work]:
    return [
        work(folder, f"s{number}", site.text(site.entries(count)))
        for number, count in enumerate(counts)
    ]


def told(read: Read) -> object:
    """All that the tallies of a volume say, or why it failed."""
    if read.error:
        return type(read.error), str(read.error)
    owners, marks, inspector, vaults = read.tallies
    gids = inspector.tell(Groups())
    counts = inspector.tell(Put(tuple(gids)))
    return (
        read.lines,
        read.bad,
        owners.tell(By.GROUP),
        owners.tell(By.USER),
        marks.tell(None),
        vaults.tell(Owners()),
        inspector.tell(Directories(0, counts.directories)),
        inspector.tell(Bases(0, counts.bases)),
    )


def by_threads(works: Sequence[Work]) -> dict[str, object]:
    reads = threads.one_pass(1, works, READING, lambda _: None)
    return {read.scan.volume.name: told(read) for read in reads}


def by_ranks(team: Team, works: Sequence[Work], reading: Reading = READING) -> dict[str, object]:
    reads = ranks.one_pass(team.post, works, reading, lambda _: None)
    return {read.scan.volume.name: told(read) for read in reads}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("volumes", [(251,), (20_003, 1), (1, 249, 250, 500, 10_003)])
def test_any_number_of_ranks_gives_what_one_thread_gives(
    tmp_path: Path, count: int, volumes: Sequence[int]
) -> None:
    works = some(tmp_path, *volumes)
    with Team(count) as team:
        assert by_ranks(team, works) == by_threads(works)


@pytest.mark.parametrize("blocks", [1, 3, 1000])
def test_the_number_of_blocks_in_a_message_does_not_matter(tmp_path: Path, blocks: int) -> None:
    works = some(tmp_path, 5003)
    with Team(4) as team:
        assert by_ranks(team, works, Reading(250, blocks, 0)) == by_threads(works)


def test_ranks_make_one_pass_after_the_other(tmp_path: Path) -> None:
    works = some(tmp_path, 3000, 700)
    with Team(5) as team:
        assert by_ranks(team, works) == by_ranks(team, works[:1]) | by_ranks(team, works[1:])


def test_a_pass_without_work_ends_at_once() -> None:
    with Team(3) as team:
        assert by_ranks(team, []) == {}


def test_a_volumes_trouble_is_its_own(tmp_path: Path) -> None:
    works = some(tmp_path, 3000, 3000, 3000, 0, 3000)
    missing, cut, bad, *_ = works
    missing.scan.path.unlink()
    cut.scan.path.write_bytes(cut.scan.path.read_bytes()[:-2000])
    text = site.text(site.entries(3000))
    bad.scan.path.write_bytes(gzip.compress(text.replace(b"\tf\t", b"\t\t", 150)))
    for count in (2, 4, 9):
        with Team(count) as team:
            results = by_ranks(team, works)
        assert results == by_threads(works)
        kinds = [result[0] for result in results.values() if isinstance(result, tuple)]
        assert kinds.count(3000) == 1
        assert kinds.count(ScanUnreadable) == 2
        assert kinds.count(ScanEmpty) == 1


def test_sums_that_leave_64_bits_fail_the_volume_wherever_it_is_noticed(tmp_path: Path) -> None:
    huge = [site.entry(f"/lustre/s1/d/f{i}", size=2**61, inode=i) for i in range(2000)]
    apart = [each._replace(size=2**62 if i in (0, 1999) else 0) for i, each in enumerate(huge)]
    works = [
        work(tmp_path, "in a block", site.text(huge)),
        work(tmp_path, "merged", site.text(apart)),
        *some(tmp_path, 3000),
    ]
    for count in (2, 4, 12):
        with Team(count) as team:
            results = by_ranks(team, works)
        assert results == by_threads(works)
        assert [result[0] for result in results.values() if isinstance(result, tuple)].count(
            SumOverflow
        ) == 2


class Holding(OwnerTally):
    """Holds something until it is ended, and says what then went wrong only when it is asked."""

    held = True

    def end(self) -> None:
        self.held = False

    def tell(self, _: object = None) -> Any:
        raise TallyFailed(self.held)


@pytest.mark.parametrize("count", [2, 5])
def test_a_controller_lets_go_of_what_a_tally_holds_and_says_what_it_cannot_tell(
    tmp_path: Path, count: int
) -> None:
    maker = partial(Holding, SCAN_TIME)
    works = [Work(each.scan, (maker,)) for each in some(tmp_path, 3000, 5000)]
    with Team(count) as team:
        for read in ranks.one_pass(team.post, works, READING, lambda _: None):
            with pytest.raises(TallyFailed, match="False"):
                read.tallies[0].tell(None)


def test_leaving_early_ends_the_pass_on_all_ranks(tmp_path: Path) -> None:
    works = some(tmp_path, 3000, 3000, 3000)
    before = threading.active_count()
    with Team(6) as team:
        reads = ranks.one_pass(team.post, works, READING, lambda _: None)
        next(reads)
        reads.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_progress_is_told_while_a_volume_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "NEWS_SECONDS", 0)
    works = some(tmp_path, 20_000)
    seen: list[Progress] = []
    with Team(3) as team:
        list(ranks.one_pass(team.post, works, READING, seen.append))
    size = works[0].scan.path.stat().st_size
    assert seen
    assert all(0 <= each.position <= size == each.size and each.lines <= 20_000 for each in seen)


class Slow(OwnerTally):
    """Takes its time for each batch, on any rank but the controller."""

    def add(self, batch: Batch) -> None:
        if threading.current_thread().name == "slow":
            time.sleep(0.05)
        super().add(batch)


def test_a_slow_worker_is_sent_no_more_than_it_can_take(tmp_path: Path) -> None:
    text = site.text(site.entries(20_000))
    slow = Work(work(tmp_path, "s1", text).scan, (partial(Slow, SCAN_TIME),))

    def serve(post: OfficePost) -> None:
        if post.rank == 2:
            threading.current_thread().name = "slow"
        ranks.serve(post)

    with Team(3, serve) as team:
        [read] = ranks.one_pass(team.post, [slow], Reading(250, 1, 0), lambda _: None)
        assert read.lines == 20_000
    assert team.office.most_lines <= 2


def test_a_worker_whose_volume_is_done_goes_on_to_the_one_with_most_left(tmp_path: Path) -> None:
    class Slowly(OfficePost):
        """The controller of the large volume reads no faster than others can help it."""

        def take(self, source: int | None = None, kind: Kind | None = None) -> Letter | None:
            if self.rank == 1 and source is None:
                time.sleep(0.002)
            return super().take(source, kind)

    def serve(post: OfficePost) -> None:
        ranks.serve(Slowly(post._office, post.rank))

    works = some(tmp_path, 100_000, 300)
    with Team(5, serve) as team:
        plan = deal(works, READING, team.office.hosts)
        plan = Plan(plan.works, plan.reading, plan.volumes, {3: 2, 4: 2})
        for rank in range(1, 5):
            team.post.send(rank, Kind.PLAN, plan)
        for _ in works:
            while isinstance((letter := team.post.wait(kind=Kind.NEWS)).content, Progress):
                pass
            assert letter.content.error is None
            team.post.send(letter.source, Kind.NEXT)
        for rank in range(1, 5):
            team.post.send(rank, Kind.END)
    asked = {(worker, to) for worker, to, kind in team.office.sent if kind == Kind.ASK}
    assert {(3, 1), (4, 1)} <= asked


# What follows what, for one controller.


def controller_of(tmp_path: Path, works: Sequence[Work]) -> tuple[Controller, Office]:
    office = Office(["here"] * 4)
    plan = Plan(tuple(works), Reading(250, 1, 0.001), {1: (0,)}, {2: 1, 3: 1})
    return Controller(office.post(1), plan), office


def kinds(office: Office, to: int) -> list[Kind]:
    return [kind for source, rank, kind in office.sent if source == 1 and rank == to]


def test_who_asks_gets_blocks_in_order_and_then_that_it_is_over(tmp_path: Path) -> None:
    controller, office = controller_of(tmp_path, some(tmp_path, 501))
    workers = office.post(2)
    for _ in range(5):
        workers.send(1, Kind.ASK)
    workers.send(1, Kind.PIECE, (501, BadLines()))
    workers.send(1, Kind.PIECE, None)
    controller.read(0)
    assert kinds(office, 2) == [Kind.LINES] * 3 + [Kind.OVER] * 2
    lines = [letter.content for letter in office.boxes[2] if letter.kind == Kind.LINES]
    assert [(block.first_line, block.lines) for block in lines] == [(1, 250), (251, 250), (501, 1)]
    assert b"".join(block.raw[: block.length].tobytes() for block in lines) == site.text(
        site.entries(501)
    )
    assert [letter.content for letter in office.boxes[2]][-1] is True
    [news] = [letter.content for letter in office.boxes[0]]
    assert (news.lines, news.error) == (501, None)


def test_a_volume_is_not_done_before_every_worker_has_handed_in(tmp_path: Path) -> None:
    controller, office = controller_of(tmp_path, some(tmp_path, 400))
    office.post(2).send(1, Kind.ASK)
    office.post(3).send(1, Kind.ASK)
    reading = threading.Thread(target=controller.read, args=(0,))
    reading.start()
    office.post(3).send(1, Kind.PIECE, (150, BadLines()))
    office.post(3).send(1, Kind.PIECE, None)
    reading.join(0.2)
    assert reading.is_alive()
    assert not office.boxes[0]
    office.post(2).send(1, Kind.PIECE, (250, BadLines()))
    office.post(2).send(1, Kind.PIECE, None)
    reading.join(5)
    assert not reading.is_alive()
    assert office.boxes[0][0].content.error is None


def test_who_asks_after_the_end_is_told_so(tmp_path: Path) -> None:
    controller, office = controller_of(tmp_path, some(tmp_path, 10))
    controller.read(0)
    controller.handle(Letter(2, Kind.ASK))
    controller.handle(Letter(2, Kind.HOW_MUCH))
    assert [(letter.kind, letter.content) for letter in office.boxes[2]] == [
        (Kind.OVER, True),
        (Kind.LEFT, 0),
    ]


def test_counts_of_a_volume_that_failed_are_not_wanted(tmp_path: Path) -> None:
    works = some(tmp_path, 3000)
    works[0].scan.path.write_bytes(works[0].scan.path.read_bytes()[:-100])
    controller, office = controller_of(tmp_path, works)
    office.post(2).send(1, Kind.ASK)
    controller.read(0)
    controller.handle(Letter(2, Kind.ASK))
    assert office.boxes[2][-1].content is False
    assert isinstance(office.boxes[0][0].content.error, ScanUnreadable)


# Who does what.


def dealt(tmp_path: Path, sizes: Sequence[int], hosts: Sequence[str]) -> Plan:
    works = []
    for number, size in enumerate(sizes):
        path = tmp_path / str(number)
        path.write_bytes(bytes(size))
        works.append(Work(Scan(Volume(str(number)), path, date(2026, 1, 1), 1), ()))
    return deal(works, READING, hosts)


def test_each_volume_has_a_controller_and_the_largest_most_workers(tmp_path: Path) -> None:
    plan = dealt(tmp_path, [10, 600, 300], ["here"] * 10)
    assert plan.volumes == {1: (1,), 2: (2,), 3: (0,)}
    assert sorted(plan.workers) == [4, 5, 6, 7, 8, 9]
    assert [list(plan.workers.values()).count(rank) for rank in (1, 2, 3)] == [4, 2, 0]


def test_fewer_ranks_than_volumes_share_them_by_size_and_have_no_workers(tmp_path: Path) -> None:
    plan = dealt(tmp_path, [5, 40, 30, 20], ["here"] * 3)
    assert plan.volumes == {1: (1, 0), 2: (2, 3)}
    assert plan.workers == {}


def test_a_worker_begins_with_a_controller_on_its_own_host(tmp_path: Path) -> None:
    plan = dealt(tmp_path, [100, 90], ["a", "a", "b", "b", "b", "a", "c"])
    assert plan.volumes == {1: (0,), 2: (1,)}
    assert plan.workers == {3: 2, 4: 2, 5: 1, 6: 1}
