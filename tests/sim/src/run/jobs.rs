//! Work that a member's threads do: it begins now and ends later, and a crash in between ends it for good.

use raft::{
    EntriesRead, Entry, Fetch, Index, LogId, NeedEntries, Snapshot,
    planted::{Bug, is_planted},
};
use replica::{ApplyJob, Input, state};
use storage::StateStore;

use super::{
    board::{Process, place},
    card::{Frozen, Hash},
    clients::Owner,
    fault::Fault,
    plan::TICK,
    world::{Event, Phase, World},
};
use crate::properties::{BlobsAreHeld, Broken, Property, StateMachineSafety, Verdict};

/// A board looks for blobs that it lacks this often.
const PULL_TICKS: u64 = 6;

#[derive(Debug)]
pub enum Job {
    /// A formation record is on the disk.
    Record,
    Apply,
    Read(NeedEntries),
    Flush,
    /// The flush is known to be done.
    Flushed(LogId),
    Freeze,
    Fetch(Fetch),
    Pull,
    /// Reads before it collects blobs.
    Inquire,
}

impl World {
    pub(super) fn begin(&mut self, board: usize, boot: u64, job: Job, from: u64, to: u64) {
        let at = self.now + self.disk_rng.between(from, to.max(from));
        self.queue.post(at, Event::Done { board, boot, job });
    }

    pub(super) fn begin_apply(&mut self, board: usize, boot: u64, job: ApplyJob) -> Verdict {
        let last = match &job {
            ApplyJob::Entries(entries) => entries.last().map_or(0, |entry| entry.id.index),
            ApplyJob::FromLog { last, .. } => *last,
            ApplyJob::Switch { .. } => 0,
        };
        let one = &self.boards[board];
        StateMachineSafety::begins(one.id, last, one.card.log.last().index)?;
        let member = self.boards[board].member_mut().expect("it asks for work");
        assert!(member.applying.is_none(), "one apply job at a time");
        member.applying = Some(job);
        self.begin(board, boot, Job::Apply, 100, self.plan.apply_max);
        Ok(())
    }

    pub(super) fn begin_fetch(&mut self, board: usize, boot: u64, fetch: Fetch) {
        let member = self.boards[board].member_mut().expect("it asks for work");
        if member.fetching.is_none() {
            member.fetching = Some(fetch);
            let longest = if self.disk_rng.chance(500) { 2 } else { 15 };
            self.begin(board, boot, Job::Fetch(fetch), 100, longest * TICK);
        }
    }

    pub(super) fn job_done(&mut self, board: usize, job: Job) -> Verdict {
        match job {
            Job::Record => self.record_written(board),
            Job::Apply => self.apply(board),
            Job::Read(need) => self.read(board, need),
            Job::Flush => self.flush(board),
            Job::Flushed(flushed) => self.feed(board, Input::Flushed(flushed)),
            Job::Freeze => {
                let one = &mut self.boards[board];
                let Some(generation) = one.member().map(|member| member.generation) else { return Ok(()) };
                let applied = one.card.freeze(generation);
                self.feed(board, Input::Checkpointed(applied))
            }
            Job::Fetch(fetch) => self.fetch(board, fetch),
            Job::Pull => self.pull(board),
            Job::Inquire => self.inquire(board),
        }
    }

    pub(super) fn inquire(&mut self, board: usize) -> Verdict {
        let ticket = self.ticket(Owner::Start, board);
        self.feed(board, Input::Read { ticket })
    }

    fn record_written(&mut self, board: usize) -> Verdict {
        let one = &mut self.boards[board];
        let Some(Process::Forming(forming)) = &mut one.process else { return Ok(()) };
        let Some(record) = forming.written() else { return Ok(()) };
        one.card.formation = record.clone();
        self.acts.note(Fault::Formation);
        self.note(Property::OneCluster);
        self.one_cluster.stored(&record)?;
        if let Some(started) = record.started {
            self.cluster = Some(started.cluster_id);
            self.boards[board].process = None;
            return self.start_member(board);
        }
        Ok(())
    }

    fn apply(&mut self, board: usize) -> Verdict {
        let one = &mut self.boards[board];
        let id = one.id;
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        let job = member.applying.take().expect("a job that ends was begun");
        let entries: Vec<Entry> = match job {
            ApplyJob::Entries(entries) => entries,
            ApplyJob::FromLog { first, last, max_bytes } => {
                // The log hands out fewer than asked, at its own choice.
                let max_bytes = max_bytes.min(self.disk_rng.between(1, 4_000) as usize);
                if one.card.rotten.is_some_and(|rotten| rotten <= last) {
                    return self.crash(board);
                }
                let entries = one.card.log.read(first, last, max_bytes);
                if entries.is_empty() {
                    return self.feed(board, Input::NothingApplied);
                }
                entries
            }
            ApplyJob::Switch { generation } => return self.switch(board, generation),
        };
        let applied = state::apply_by(&self.rules, &member.state, &entries);
        let applied = applied.map_err(|error| Property::StateMachineSafety.broken(error.to_string()))?;
        for blob in &applied.blobs {
            // What is named anew was not given up.
            one.card.unlinked.remove(&blob.hash);
            if !one.card.blobs.contains(&blob.hash) {
                member.missing.insert(blob.hash);
            }
        }
        self.note(Property::StateMachineSafety);
        self.state_machine.applied(id, &entries, &applied, &self.ledger)?;
        self.feed(board, Input::Applied(applied))?;
        self.blobs_moved(board)
    }

    fn switch(&mut self, board: usize, generation: u64) -> Verdict {
        let one = &mut self.boards[board];
        let id = one.id;
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        assert_eq!(one.card.log.generation, generation, "the log on the disk names what is switched to");
        member.state = one.card.state(generation);
        member.generation = generation;
        one.card.keep_only(generation);
        let position = state::position(&member.state).map_err(|error| Property::Asserts.broken(error.to_string()))?;
        member.missing.clear();
        for blob in state::blobs(&member.state, None, usize::MAX).unwrap_or_default() {
            one.card.unlinked.remove(&blob.hash);
            if !one.card.blobs.contains(&blob.hash) {
                member.missing.insert(blob.hash);
            }
        }
        self.state_machine.hash(id, position.applied.index, position.hash)?;
        self.feed(board, Input::Switched(position))?;
        self.blobs_moved(board)
    }

    fn read(&mut self, board: usize, need: NeedEntries) -> Verdict {
        let one = &self.boards[board];
        if one.card.rotten.is_some_and(|rotten| rotten <= need.last) {
            return self.crash(board);
        }
        // Truncated or cut meanwhile: then the answer is worth nothing.
        let entries = one.card.log.read(need.first, need.last, need.max_bytes);
        self.feed(board, Input::EntriesRead(EntriesRead { peer: need.peer, term: need.term, entries }))
    }

    fn flush(&mut self, board: usize) -> Verdict {
        let one = &mut self.boards[board];
        let boot = one.boots;
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        if is_planted(Bug::AppliedNotAtomic) {
            // The mistake: of what was written since the last flush only the position is saved.
            let newest = Frozen::of(&member.state);
            let older = member.flushed.replace(newest);
            one.card.left_out = older.map(|older| (member.generation, older));
        }
        let flushed = member.state.flush().and_then(|()| member.state.applied_durable());
        let flushed = flushed.map_err(|error| Property::Asserts.broken(error.to_string()))?;
        if member.collecting.is_some_and(|at| at <= flushed.index) {
            self.unlink(board);
        }
        // Meanwhile more is applied.
        self.begin(board, boot, Job::Flushed(flushed), 100, 8 * TICK);
        Ok(())
    }

    fn fetch(&mut self, board: usize, fetch: Fetch) -> Verdict {
        let from = place(fetch.from);
        let reachable = !self.network.is_cut(from, board) && !self.network.is_cut(board, from);
        let source = &self.boards[from];
        let copy = match source.member() {
            Some(member) if source.id == fetch.from && reachable => {
                source.card.frozen(member.generation).filter(|frozen| frozen.applied == fetch.mark).cloned()
            }
            _ => None,
        };
        let one = &mut self.boards[board];
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        member.fetching = None;
        let Some(copy) = copy else { return Ok(()) };
        let generation = member.replica.next_generation();
        if generation <= member.generation || member.applying.as_ref().is_some_and(|job| matches!(job, ApplyJob::Switch { .. })) {
            return Ok(());
        }
        // A generation that the log names already is not written over.
        if generation == member.generation || one.card.log.generation >= generation {
            return Ok(());
        }
        let position = one.card.stage(generation, &copy);
        member.staged = Some((generation, position.membership.clone()));
        let snapshot = Snapshot { mark: position.applied, generation, membership: position.membership };
        self.feed(board, Input::Staged(snapshot))
    }

    /// The blobs of a board, or those that its state refers to, have changed.
    pub(super) fn blobs_moved(&mut self, board: usize) -> Verdict {
        let now = self.now;
        let one = &mut self.boards[board];
        let boot = one.boots;
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        let applied = member.replica.applied();
        let lacks = !member.missing.is_empty();
        if lacks && !member.pulling {
            member.pulling = true;
            self.queue.post(now + PULL_TICKS * TICK, Event::Done { board, boot, job: Job::Pull });
        }
        let state = &member.state;
        let unused = |hash: &Hash| !state::refers_to(state, hash).unwrap_or(true);
        let garbage = one.card.blobs.iter().any(unused);
        let changed = std::mem::replace(&mut member.garbage, garbage) != garbage;
        if !lacks {
            one.card.whole = one.card.whole.max(applied);
            self.feed(board, Input::Whole(applied))?;
        }
        if changed { self.feed(board, Input::Garbage(garbage)) } else { Ok(()) }
    }

    fn pull(&mut self, board: usize) -> Verdict {
        let Some(member) = self.boards[board].member_mut() else { return Ok(()) };
        member.pulling = false;
        let wanted: Vec<Hash> = member.missing.iter().copied().collect();
        for hash in wanted {
            let reachable = |from: &usize| !self.network.is_cut(*from, board) && !self.network.is_cut(board, *from);
            let sources: Vec<usize> = (0..self.boards.len()).filter(|from| *from != board).filter(reachable).collect();
            let found = sources.iter().any(|from| self.boards[*from].process.is_some() && self.boards[*from].card.blobs.contains(&hash));
            let one = &mut self.boards[board];
            let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
            if found {
                one.card.blobs.insert(hash);
                one.card.unlinked.remove(&hash);
            }
            if found || !state::refers_to(&member.state, &hash).unwrap_or(true) {
                member.missing.remove(&hash);
            }
        }
        self.blobs_moved(board)
    }

    /// A `collect` entry was applied: what nothing refers to may go, once the state is flushed that far.
    pub(super) fn collection(&mut self, board: usize, at: Index) -> Verdict {
        let one = &mut self.boards[board];
        let boot = one.boots;
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        if member.collects_from.is_none_or(|from| at <= from) {
            return Ok(());
        }
        self.answers.collected += 1;
        member.collecting = Some(at);
        if is_planted(Bug::UnlinkBeforeFlush) {
            self.unlink(board);
            return Ok(());
        }
        self.begin(board, boot, Job::Flush, TICK, 10 * TICK);
        Ok(())
    }

    fn unlink(&mut self, board: usize) {
        let one = &mut self.boards[board];
        let Some(Process::Member(member)) = &mut one.process else { return };
        let Some(at) = member.collecting.take() else { return };
        let (state, promised) = (&member.state, &member.promised);
        let goes = |hash: &Hash| promised.get(hash).is_none_or(|c| *c < at) && !state::refers_to(state, hash).unwrap_or(true);
        let gone: Vec<Hash> = one.card.blobs.iter().filter(|hash| goes(hash)).copied().collect();
        for hash in gone {
            one.card.blobs.remove(&hash);
            one.card.unlinked.insert(hash);
            one.card.unlinked_in = member.generation;
            member.missing.remove(&hash);
        }
        member.garbage = true;
    }

    /// Every blob that the newest state refers to is on some board that is still alive.
    pub(super) fn check_all_blobs(&mut self) -> Result<(), Broken> {
        self.note(Property::BlobsAreHeld);
        let membership = self.ledger.membership();
        BlobsAreHeld::recount(&self.model.live_blobs(), |hash| {
            self.boards.iter().any(|one| membership.contains(one.id) && one.card.blobs.contains(hash))
        })
    }

    /// Power off, and on again some time later.
    pub(super) fn crash(&mut self, board: usize) -> Verdict {
        let back = if self.phase == Phase::Safety { self.down_time() } else { TICK };
        self.crash_for_good(board)?;
        self.queue.post(self.now + back, Event::Start { board });
        Ok(())
    }

    /// Often only a moment: then an election is still under way when it is back.
    fn down_time(&mut self) -> u64 {
        let longest = if self.trouble_rng.chance(500) { 8 } else { 150 };
        self.trouble_rng.between(TICK / 2, longest * TICK)
    }

    pub(super) fn crash_for_good(&mut self, board: usize) -> Verdict {
        if self.boards[board].process.is_none() {
            return Ok(());
        }
        let luck = if self.plan.has(Fault::LostWrites) { 500 } else { 1_000 };
        let written = match &self.boards[board].process {
            Some(Process::Forming(forming)) => forming.writing.clone().filter(|_| self.disk_rng.chance(luck)),
            _ => None,
        };
        let rng = &mut self.disk_rng;
        let lost = self.boards[board].crash(|| rng.chance(luck));
        if lost {
            self.acts.note(Fault::LostWrites);
        }
        if let Some(record) = written {
            self.boards[board].card.formation = record.clone();
            self.one_cluster.stored(&record)?;
            if let Some(started) = record.started {
                self.cluster = Some(started.cluster_id);
            }
        }
        self.requests_die(board);
        Ok(())
    }

    /// Whoever must not speak again under its id comes back as another node; its files are kept aside, its blobs are used again.
    pub(super) fn set_aside(&mut self, board: usize) -> Verdict {
        let id = self.boards[board].id;
        if self.boards[board].process.is_some() {
            self.crash_for_good(board)?;
        }
        let old = self.boards[board].start_over(true);
        self.dead.insert(id, old);
        self.queue.post(self.now + 10 * TICK, Event::Start { board });
        Ok(())
    }
}
