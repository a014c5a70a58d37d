//! The loop: the earliest event happens, the properties look at what it changed.

use std::collections::BTreeMap;

use raft::{Envelope, Index, LogId, Membership, NeedEntries, NodeId, Room, Seq, planted};
use replica::{Effects, Input, Key, Limits, Replica, Reply, state::Rules};
use storage::{Started, StateStore};

use super::{
    admin::Admin,
    board::{Board, Handed, Member, NextSync, Process, Seen, place},
    card::Card,
    clients::{Client, Owner, Ticket},
    fault::{Acts, Fault},
    forming::Forming,
    jobs::Job,
    network::{Letter, Network, ends},
    plan::{Plan, Settings, TICK},
    queue::Queue,
    report::{Answers, Report},
};
use crate::{
    Rng, formation,
    formation::Scenario,
    properties::{
        Acked, BlobsAreHeld, Broken, Checks, Committed, CommittedIsImmutable, DurableOnAQuorum, ElectionSafety, ExactlyOnce,
        LeaderCompleteness, Ledger, Linearizability, LogMatching, Monotonic, OneCluster, Property, StateMachineSafety, Verdict,
        acked_is_durable, caught_up, digest, in_force, leader_append_only, quorum_overlap, speaks, suspected,
    },
};

/// Between two recounts of everything.
const RECOUNT_EVENTS: u64 = 1_000;
/// A safety phase in which little happens ends by the clock.
const SAFETY_TICKS_MAX: u64 = 6_000;
/// Every client must have been served so long after the faults ended.
const SERVED_WITHIN_TICKS: u64 = 2_000;
/// And all members agree so long after clients fell silent, and after whoever is furthest behind had time for what it lacks.
const AGREED_WITHIN_TICKS: u64 = 1_500;
/// With the narrowest window and the slowest disk that are drawn, an entry takes a round trip and a sync.
const CATCH_UP_TICKS_PER_ENTRY: u64 = 8;
/// How often it is looked whether they do.
const LOOK_TICKS: u64 = 20;
/// Batches that one sync takes.
const SYNC_BATCHES_MAX: usize = 4;
/// The anchor follows after so many entries at the latest.
const ANCHOR_LAG_MAX: u64 = 8;
/// Asks who others are, while there is no cluster.
const ASK_TICKS: u64 = 4;
/// Of a formation apart.
const FORMED_APART_TICKS: u64 = 250;

pub struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    /// Orders calls and answers.
    pub(super) clock: u64,
    pub(super) queue: Queue<Event>,
    pub(super) boards: Vec<Board>,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) admin: Admin,
    pub(super) disk_rng: Rng,
    pub(super) trouble_rng: Rng,
    pub(super) client_rng: Rng,
    pub(super) phase: Phase,
    pub(super) phase_ends: u64,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) cluster: Option<[u8; 16]>,
    /// Disks of ids that never speak again.
    pub(super) dead: BTreeMap<NodeId, Card>,
    pub(super) ledger: Ledger,
    pub(super) model: ExactlyOnce,
    pub(super) linearizability: Linearizability,
    pub(super) one_cluster: OneCluster,
    pub(super) state_machine: StateMachineSafety,
    election: ElectionSafety,
    matching: LogMatching,
    completeness: LeaderCompleteness,
    monotonic: Monotonic,
    pub(super) acts: Acts,
    pub(super) checks: Checks,
    pub(super) answers: Answers,
    events: u64,
    recount_at: u64,
    recounted: Index,
    trace: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Safety,
    /// Nothing goes wrong any more, and everybody is served.
    Served,
    /// Nobody asks for anything any more.
    Silent,
    Over,
}

#[derive(Debug)]
pub enum Event {
    Tick { board: usize, boot: u64 },
    Deliver { to: usize, letter: Letter },
    Synced { board: usize, boot: u64, group: u64 },
    Done { board: usize, boot: u64, job: Job },
    Start { board: usize },
    Client { client: usize, wake: u64 },
    Strike,
    Die { board: usize, boot: u64 },
    Reconnect,
    Admin,
    Look,
}

impl World {
    pub fn new(plan: Plan) -> World {
        let mut seeds = Rng::new(plan.seed ^ 0x5eed);
        let mut client_rng = Rng::new(seeds.draw());
        let voters: Vec<NodeId> = (0..plan.voters).map(|place| NodeId(place as u64 + 1)).collect();
        let membership = Membership::of_voters(voters.iter().copied());
        let boards = plan.boards();
        let rules = Rules { hash_period: client_rng.between(4, 40), sessions_max: client_rng.between(4, 40) as usize };
        let keep_entries = if plan.has(Fault::Compact) { client_rng.between(8, 160) } else { 1 << 20 };
        let mut limits = Limits { collect_ticks: client_rng.between(20, 200), ..Limits::default() };
        limits.keep.entries = keep_entries;
        let mut world = World {
            now: 0,
            clock: 0,
            queue: Queue::default(),
            boards: (0..boards).map(|place| Board::new(place, plan.settings)).collect(),
            network: Network::new(seeds.draw(), boards),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            tickets: Vec::new(),
            admin: Admin::default(),
            disk_rng: Rng::new(seeds.draw()),
            trouble_rng: Rng::new(seeds.draw()),
            client_rng,
            phase: Phase::Safety,
            phase_ends: SAFETY_TICKS_MAX * TICK,
            rules,
            limits,
            cluster: None,
            dead: BTreeMap::new(),
            ledger: Ledger::started(membership.clone()),
            model: ExactlyOnce::new(rules.sessions_max),
            linearizability: Linearizability::default(),
            one_cluster: OneCluster::default(),
            state_machine: StateMachineSafety::default(),
            election: ElectionSafety::default(),
            matching: LogMatching::default(),
            completeness: LeaderCompleteness::default(),
            monotonic: Monotonic::default(),
            acts: Acts::default(),
            checks: Checks::default(),
            answers: Answers::default(),
            events: 0,
            recount_at: RECOUNT_EVENTS,
            recounted: 0,
            trace: plan.seed,
            plan,
        };
        world.lay_out(membership);
        world
    }

    /// Until the end, or until something does not hold that must.
    pub fn run(&mut self) -> Result<Report, Broken> {
        if self.plan.has(Fault::Formation) {
            self.form_apart()?;
        }
        while self.phase != Phase::Over {
            let (now, event) = self.queue.pop().expect("boards tick for ever");
            self.now = now;
            self.happen(event)?;
            if self.events >= self.recount_at {
                self.recount_at += RECOUNT_EVENTS;
                self.recount()?;
            }
            if now >= self.phase_ends || self.phase == Phase::Safety && self.events >= self.plan.events_max {
                self.next_phase()?;
            }
        }
        self.recount()?;
        self.check_all_blobs()?;
        self.note(Property::Linearizability);
        self.linearizability.check()?;
        Ok(self.report())
    }

    pub fn report(&self) -> Report {
        Report {
            trace: self.trace,
            events: self.events,
            acts: self.acts,
            checks: self.checks,
            answers: self.answers,
            committed: self.ledger.end(),
            ticks: self.now / TICK,
        }
    }

    /// Other boards on another LAN, in any constellation: what they form is no cluster that this run goes on with.
    fn form_apart(&mut self) -> Verdict {
        let mut rng = Rng::new(self.plan.seed ^ 0xf0);
        let scenario = Scenario::any(&mut rng);
        let mut apart = formation::World::new(scenario, rng);
        self.note(Property::OneCluster);
        apart.run(FORMED_APART_TICKS).map_err(|what| Property::OneCluster.broken(what))
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    fn lay_out(&mut self, membership: Membership) {
        let forms_itself = self.plan.has(Fault::Formation);
        for board in 0..self.boards.len() {
            let is_voter = board < self.plan.voters;
            self.boards[board].is_newcomer = !is_voter;
            if self.plan.has(Fault::ClockSkew) {
                self.acts.note(Fault::ClockSkew);
                self.boards[board].interval = self.trouble_rng.between(TICK * 6 / 10, TICK * 16 / 10);
            }
            if is_voter && !forms_itself {
                let started = Started { cluster_id: [1; 16], membership: membership.clone() };
                self.boards[board].card.formation.promised = Some(membership.voters.iter().copied().collect());
                self.boards[board].card.formation.started = Some(started);
            }
            if self.plan.mixed_settings {
                self.boards[board].settings = Settings::any(&mut self.trouble_rng);
            }
            let at = self.trouble_rng.between(1, 10 * TICK);
            self.queue.post(at, Event::Start { board });
        }
        self.cluster = (!forms_itself).then_some([1; 16]);
        for client in 0..self.clients.len() {
            let at = self.client_rng.between(20, 60) * TICK;
            self.wake_client(client, at);
        }
        self.queue.post(self.plan.strike_max, Event::Strike);
        self.queue.post(50 * TICK, Event::Admin);
        self.queue.post(LOOK_TICKS * TICK, Event::Look);
    }

    fn happen(&mut self, event: Event) -> Verdict {
        if let Some((board, paused_until)) = self.paused(&event) {
            self.boards[board].paused_until = paused_until;
            self.queue.post(paused_until, event);
            return Ok(());
        }
        match event {
            Event::Tick { board, boot } => self.tick(board, boot),
            Event::Deliver { to, letter } => {
                self.count(1, to as u64);
                self.deliver(to, letter)
            }
            Event::Synced { board, boot, group } => {
                self.count(2, board as u64);
                self.synced(board, boot, group)
            }
            Event::Done { board, boot, job } => {
                self.count(3, board as u64);
                if self.boards[board].boots == boot && self.boards[board].process.is_some() { self.job_done(board, job) } else { Ok(()) }
            }
            Event::Start { board } => self.start(board),
            Event::Client { client, wake } => self.client_wakes(client, wake),
            Event::Strike => self.strike(),
            Event::Die { board, boot } => self.die(board, boot),
            Event::Reconnect => {
                self.reconnect();
                Ok(())
            }
            Event::Admin => self.administer(),
            Event::Look => self.look(),
        }
    }

    /// One more event, into the trace.
    pub(super) fn count(&mut self, kind: u64, of: u64) {
        self.events += 1;
        self.trace_in(kind << 32 | of);
    }

    pub(super) fn trace_in(&mut self, word: u64) {
        self.trace = (self.trace ^ word ^ self.now).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    pub(super) fn note(&mut self, property: Property) {
        self.checks.note(property);
    }

    fn paused(&self, event: &Event) -> Option<(usize, u64)> {
        let board = match event {
            Event::Tick { board, .. } | Event::Synced { board, .. } | Event::Done { board, .. } => *board,
            Event::Deliver { to, .. } => *to,
            _ => return None,
        };
        let until = self.boards[board].paused_until;
        (until > self.now).then_some((board, until))
    }

    fn tick(&mut self, board: usize, boot: u64) -> Verdict {
        let one = &mut self.boards[board];
        if one.boots != boot || one.process.is_none() {
            return Ok(());
        }
        self.queue.post(self.now + one.interval, Event::Tick { board, boot });
        match &mut one.process {
            Some(Process::Forming(forming)) => {
                let record = forming.tick();
                self.write_record(board, record);
                if (self.now / TICK + board as u64).is_multiple_of(ASK_TICKS) {
                    for other in (0..self.plan.voters).filter(|other| *other != board) {
                        self.post(board, other, Letter::WhoAreYou { from: board });
                    }
                }
                Ok(())
            }
            _ => self.feed(board, Input::Tick),
        }
    }

    fn write_record(&mut self, board: usize, record: Option<storage::Formation>) {
        if record.is_some() {
            let at = self.now + self.disk_rng.between(TICK / 2, 3 * TICK);
            self.queue.post(at, Event::Done { board, boot: self.boards[board].boots, job: Job::Record });
        }
    }

    pub(super) fn post(&mut self, from: usize, to: usize, letter: Letter) {
        let fates = self.network.fates(from, to, self.now, &self.plan, &mut self.acts);
        if fates[0].is_none() {
            self.count(9, to as u64);
        }
        if let Some(again) = fates[1] {
            self.queue.post(again, Event::Deliver { to, letter: letter.clone() });
        }
        if let Some(due) = fates[0] {
            self.queue.post(due, Event::Deliver { to, letter });
        }
    }

    fn deliver(&mut self, to: usize, letter: Letter) -> Verdict {
        let board = &mut self.boards[to];
        match (letter, &mut board.process) {
            (_, None) => Ok(()),
            (Letter::WhoAreYou { from }, Some(process)) => {
                let sighting = match process {
                    Process::Forming(forming) => forming.identify(),
                    Process::Member(_) => super::forming::identify(&board.card.formation),
                };
                self.note(Property::OneCluster);
                self.one_cluster.told(&sighting, &self.boards[to].card.formation)?;
                self.post(to, from, Letter::IAm(Box::new(sighting)));
                Ok(())
            }
            (Letter::IAm(sighting), Some(Process::Forming(forming))) => {
                forming.sees(*sighting);
                Ok(())
            }
            (Letter::Raft(envelope, cluster), Some(Process::Forming(forming))) => {
                let record = forming.hears(envelope.from, cluster);
                self.write_record(to, record);
                Ok(())
            }
            (Letter::Raft(envelope, _), Some(Process::Member(member))) => {
                let removed = replica::state::is_removed(&member.state, envelope.from).unwrap_or(false);
                if envelope.to != board.id || removed { Ok(()) } else { self.feed(to, Input::Message(*envelope)) }
            }
            (Letter::IAm(_), Some(Process::Member(_))) => Ok(()),
        }
    }

    pub(super) fn start(&mut self, board: usize) -> Verdict {
        if self.boards[board].process.is_some() {
            return Ok(());
        }
        let is_voter_board = !self.boards[board].is_newcomer;
        if self.boards[board].card.formation.started.is_none() {
            if is_voter_board {
                let one = &mut self.boards[board];
                one.boots += 1;
                one.process = Some(Process::Forming(Box::new(Forming::new(one.card.formation.clone(), self.plan.voters))));
                self.queue.post(self.now + one.interval, Event::Tick { board, boot: one.boots });
                return Ok(());
            }
            // Nobody can take it in yet.
            let Some(cluster_id) = self.cluster else {
                self.queue.post(self.now + 100 * TICK, Event::Start { board });
                return Ok(());
            };
            self.boards[board].card.formation.started = Some(Started { cluster_id, membership: Membership::default() });
        }
        self.start_member(board)
    }

    pub(super) fn start_member(&mut self, board: usize) -> Verdict {
        let seed = self.trouble_rng.draw();
        let one = &mut self.boards[board];
        let config_cache = one.settings.cache_max_bytes;
        let mut image = one.card.load(config_cache);
        let found = one.card.found.take();
        if let Some(found) = &found {
            image = found.image(&one.card.formation, config_cache);
        }
        let forgot = one.card.before.is_some();
        let generation = image.generation;
        let state = one.card.state(generation);
        let position = replica::state::position(&state).map_err(|error| Property::Asserts.broken(error.to_string()))?;
        let suspicion = storage::suspicion(&one.card.anchor, &image, position.applied).map(|why| why.to_string());
        self.note(Property::HonestDisks);
        suspected(self.boards[board].id, suspicion.as_deref(), forgot)?;
        if suspicion.is_some() && !planted::is_planted(planted::Bug::SuspectCounted) {
            self.answers.suspected += 1;
            return self.set_aside(board);
        }
        let one = &mut self.boards[board];
        one.boots += 1;
        one.card.keep_only(generation);
        let boot = one.boots;
        let mut view = found.unwrap_or_else(|| one.card.log.clone());
        let started = one.card.formation.started.as_ref().expect("only members are started here");
        view.set_base(position.membership.clone().or(Some((0, started.membership.clone()))));
        let config = one.settings.config(one.id, seed, boot);
        let opened = Replica::open(config, self.limits, image, position);
        let mut replica = opened.map_err(|error| Property::HonestDisks.broken(format!("{:?} does not start: {error}", one.id)))?;
        replica.handle(Input::Room(one.room));
        let seen = Seen { applied: replica.applied(), ..Seen::default() };
        let mut missing = std::collections::BTreeSet::new();
        for blob in replica::state::blobs(&state, None, usize::MAX).unwrap_or_default() {
            if !one.card.blobs.contains(&blob.hash) {
                missing.insert(blob.hash);
            }
        }
        if generation != one.card.unlinked_in {
            // A snapshot that took the place of that state may name them anew.
            one.card.unlinked.clear();
        }
        let given_up = missing.iter().find(|hash| one.card.unlinked.contains(*hash)).copied();
        let member = Member {
            replica,
            state,
            generation,
            view,
            handed: std::collections::VecDeque::new(),
            groups: 0,
            under_way: 0,
            applying: None,
            staged: None,
            fetching: None,
            seen,
            missing,
            pulling: false,
            promised: BTreeMap::new(),
            collects_from: None,
            collecting: None,
            garbage: false,
            acked: Acked::default(),
            flushed: None,
        };
        one.process = Some(Process::Member(Box::new(member)));
        let (at, id) = (self.now + one.interval, one.id);
        self.queue.post(at, Event::Tick { board, boot });
        self.note(Property::BlobsAreHeld);
        Property::BlobsAreHeld.holds(given_up.is_none(), || format!("{id:?} has unlinked a blob that its recovered state refers to"))?;
        let cluster = self.boards[board].card.formation.started.as_ref().map(|started| started.cluster_id).unwrap_or_default();
        self.one_cluster.belongs(id, cluster)?;
        self.blobs_moved(board)?;
        self.dies_again(board);
        self.inquire(board)
    }

    /// Gives a member one input and does all that follows from it.
    pub(super) fn feed(&mut self, board: usize, input: Input) -> Verdict {
        let Some(member) = self.boards[board].member_mut() else { return Ok(()) };
        member.replica.handle(input);
        self.settle(board)
    }

    fn settle(&mut self, board: usize) -> Verdict {
        let one = &mut self.boards[board];
        let (id, boot) = (one.id, one.boots);
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        let effects = member.replica.effects();
        let node = member.replica.node();
        let (before, seen) =
            (member.seen, Seen { term: node.term(), leads: node.is_leader(), commit: node.commit(), applied: member.replica.applied() });
        member.seen = seen;
        let Effects {
            persist,
            send,
            apply,
            need_entries,
            replies,
            flush,
            checkpoint,
            fetch,
            suspect,
            alarm,
            collected,
            release_checkpoint,
            contradiction,
        } = effects;
        if let Some(contradiction) = contradiction {
            return Err(Property::CommittedIsImmutable.broken(format!("{id:?}: {contradiction}")));
        }
        let mut config_before = None;
        if let Some((seq, batch)) = persist {
            if seen.leads {
                self.checks.note(Property::LeaderAppendOnly);
                leader_append_only(id, &batch)?;
            }
            if let Some(hard) = batch.hard {
                self.checks.note(Property::ElectionSafety);
                ElectionSafety::votes(id, member.view.hard, hard)?;
            }
            if let Some(from) = batch.truncate {
                member.acked.truncates(id, member.view.hard.term.max(batch.hard.map_or(member.view.hard.term, |hard| hard.term)), from)?;
                self.checks.note(Property::CommittedIsImmutable);
                CommittedIsImmutable::truncates(id, from, &member.view, &self.ledger)?;
            }
            if batch.entries.iter().any(|entry| matches!(entry.payload, raft::Payload::Membership(_))) {
                config_before = member.view.membership().cloned();
            }
            member.view.apply(&batch);
            if let Some(install) = batch.install {
                self.answers.installed += 1;
                if let Some((generation, base)) = member.staged.take()
                    && generation == install.generation
                    && base.is_some()
                {
                    member.view.set_base(base);
                }
            }
            let mut before_it = batch.entries.first().and_then(|entry| member.view.term_at(entry.id.index - 1));
            for entry in &batch.entries {
                if let Some(before_it) = before_it {
                    self.checks.note(Property::LogMatching);
                    self.matching.appended(entry, before_it)?;
                }
                before_it = Some(entry.id.term);
                if let (raft::Payload::Membership(next), Some(before), true) = (&entry.payload, &config_before, seen.leads) {
                    self.checks.note(Property::QuorumOverlap);
                    quorum_overlap(before, next, seen.commit)?;
                }
            }
            if config_before.is_some() || batch.install.is_some() || batch.truncate.is_some() {
                self.checks.note(Property::QuorumOverlap);
                in_force(id, member.view.membership(), member.replica.node().membership())?;
            }
            let mut word = seq.0 << 20;
            if let Some(last) = batch.entries.last() {
                word ^= digest(last);
            }
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            let since = node_since(member);
            member.handed.push_back(Handed { seq, batch, group: None, complete: false });
            if let (Some(before), true) = (&config_before, seen.leads) {
                self.check_change(board, before, since)?;
            }
            self.begin_syncs(board);
        }
        if seen != before {
            self.moved(board, before, seen, config_before.as_ref())?;
        }
        self.send(board, send)?;
        if let Some(why) = alarm {
            return Err(Property::StateMachineSafety.broken(why));
        }
        if let Some(job) = apply {
            self.begin_apply(board, boot, job)?;
        }
        for need in need_entries {
            self.begin_read(board, boot, need);
        }
        if flush {
            self.begin(board, boot, Job::Flush, TICK / 2, 6 * TICK);
        }
        if checkpoint {
            self.begin(board, boot, Job::Freeze, TICK / 2, 6 * TICK);
        }
        if release_checkpoint {
            let one = &mut self.boards[board];
            let generation = one.card.log.generation;
            one.card.release(generation);
        }
        if let Some(fetch) = fetch {
            self.begin_fetch(board, boot, fetch);
        }
        if let Some(at) = collected {
            self.collection(board, at)?;
        }
        for (ticket, reply) in replies {
            self.replied(board, ticket, reply)?;
        }
        match suspect {
            Some(why) => self.accused(board, &why),
            None => Ok(()),
        }
    }

    fn begin_read(&mut self, board: usize, boot: u64, need: NeedEntries) {
        self.begin(board, boot, Job::Read(need), 100, 2 * TICK);
    }

    /// Whoever it is found out by, only a disk that forgot is suspect.
    fn accused(&mut self, board: usize, why: &replica::Suspect) -> Verdict {
        let one = &self.boards[board];
        let forgot = one.card.before.is_some();
        self.note(Property::HonestDisks);
        suspected(self.boards[board].id, Some(&why.to_string()), forgot)?;
        self.answers.suspected += 1;
        self.set_aside(board)
    }

    /// What a member now is, that it was not before.
    ///
    /// `config`: the one in force before, if a newer one was put into the log at the same moment. What moved did so under that.
    fn moved(&mut self, board: usize, before: Seen, seen: Seen, config: Option<&(Index, Membership)>) -> Verdict {
        let (id, boot) = (self.boards[board].id, self.boards[board].boots);
        self.note(Property::Monotonic);
        self.monotonic.stands(id, boot, seen.term, seen.commit, seen.applied)?;
        if seen.leads && (!before.leads || before.term != seen.term) {
            self.trace_in(id.0 << 40 | seen.term.0);
            self.note(Property::ElectionSafety);
            self.note(Property::LeaderCompleteness);
            self.election.leads(seen.term, id, self.boards[board].card.log.hard)?;
            let member = self.boards[board].member().expect("it has just moved");
            self.completeness.elected(id, seen.term, &member.view, &self.ledger)?;
        } else if before.leads && !seen.leads {
            self.completeness.resigned(id);
        }
        match seen.commit > before.commit {
            true => self.committed(board, before.commit, seen, config),
            false => Ok(()),
        }
    }

    fn committed(&mut self, board: usize, before: Index, seen: Seen, config: Option<&(Index, Membership)>) -> Verdict {
        let id = self.boards[board].id;
        if let (true, Some(member)) = (seen.leads, self.boards[board].member()) {
            self.checks.note(Property::LeaderCompleteness);
            let newest = LogId::new(member.view.term_at(seen.commit).unwrap_or_default(), seen.commit);
            LeaderCompleteness::counts(id, seen.term, newest)?;
        }
        let mut index = before;
        while index < seen.commit {
            index += 1;
            let member = self.boards[board].member().expect("it has just committed");
            let Some(term) = member.view.term_at(index) else { continue };
            let at = LogId::new(term, index);
            if index <= self.ledger.end() {
                self.checks.note(Property::CommittedIsImmutable);
                let found = member.view.entry(index).map(|_| self.matching.digest_of(at)).unwrap_or_default();
                CommittedIsImmutable::again(id, at, found, &self.ledger)?;
                continue;
            }
            let Some(entry) = member.view.entry(index).cloned() else {
                return Err(
                    Property::CommittedIsImmutable.broken(format!("{id:?} commits {at}, which nobody has committed before its snapshot"))
                );
            };
            self.first_to_commit(board, &entry, seen, config)?;
        }
        Property::CommittedIsImmutable.holds(self.ledger.end() >= seen.commit, || format!("{id:?} commits {} out of nowhere", seen.commit))
    }

    fn first_to_commit(&mut self, board: usize, entry: &raft::Entry, seen: Seen, config: Option<&(Index, Membership)>) -> Verdict {
        self.note(Property::DurableOnAQuorum);
        self.note(Property::LeaderCompleteness);
        let at = entry.id;
        let member = self.boards[board].member().expect("it has just committed");
        let nobody = (0, Membership::default());
        let (_, membership) = config.or(member.view.membership()).unwrap_or(&nobody);
        let holders = DurableOnAQuorum::committed(at, membership, |id| self.had(id, at))?;
        self.completeness.committed(at, seen.term, |id| {
            let one = &self.boards[place(id)];
            if one.id == id { one.member().map(|member| &member.view) } else { None }
        })?;
        if let Some(hash) = is_manifest(entry) {
            self.note(Property::BlobsAreHeld);
            // Entries are committed in order, so this was in force when the manifest was put into the log.
            BlobsAreHeld::committed(at, self.ledger.membership(), |id| {
                let one = &self.boards[place(id)];
                if one.id == id { one.card.blobs.contains(&hash) } else { self.dead.contains_key(&id) }
            })?;
        }
        let outcome = match &entry.payload {
            raft::Payload::Command(bytes) => {
                let command = replica::Command::decode(bytes).map_err(|error| Property::LogMatching.broken(error.to_string()))?;
                self.note(Property::ExactlyOnce);
                Some(self.model.execute(at.index, &command.owned()))
            }
            _ => None,
        };
        self.trace_in(at.index);
        self.ledger.push(entry, Committed { id: at, digest: digest(entry), by: seen.term, holders, outcome });
        Ok(())
    }

    /// A leader has put a configuration behind another one into its log.
    fn check_change(&mut self, board: usize, before: &(Index, Membership), since: Option<LogId>) -> Verdict {
        let member = self.boards[board].member().expect("it has just changed its membership");
        let (Some((_, next)), (at, before)) = (member.view.membership(), before) else { return Ok(()) };
        if before.is_joint() {
            self.checks.note(Property::BlobsAreHeld);
            BlobsAreHeld::joint_ends(*at, next, |id| self.card_of(id).map_or(0, |card| card.whole))?;
        }
        for id in next.voters.iter().filter(|id| !before.is_voter(**id)) {
            if let Some(since) = since {
                self.checks.note(Property::QuorumOverlap);
                caught_up(*id, since, self.had(*id, since))?;
            }
        }
        Ok(())
    }

    fn card_of(&self, id: NodeId) -> Option<&Card> {
        let one = &self.boards[place(id)];
        if one.id == id { Some(&one.card) } else { self.dead.get(&id) }
    }

    /// Whether the entry is, or once was, on the disk of this id.
    fn had(&self, id: NodeId, at: LogId) -> bool {
        self.card_of(id).is_some_and(|card| card.had(at))
    }

    fn send(&mut self, board: usize, envelopes: Vec<Envelope>) -> Verdict {
        let Some(cluster) = self.cluster_of(board) else { return Ok(()) };
        for envelope in envelopes {
            let one = &self.boards[board];
            let member = one.member().expect("it speaks");
            self.checks.note(Property::AckedIsDurable);
            acked_is_durable(&envelope, &member.view, &one.card.log)?;
            speaks(one.id, one.card.before.is_some() && one.card.rotten.is_none())?;
            // Whoever is in a later term already does not listen.
            let listens = self.card_of(envelope.to).is_none_or(|card| card.log.hard.term <= envelope.term);
            if listens && matches!(envelope.message, raft::Message::Campaign) {
                let everything = member.view.last();
                LeaderCompleteness::hands_over(envelope.to, everything, self.had(envelope.to, everything))?;
            }
            if let Some(member) = self.boards[board].member_mut() {
                member.acked.says(&envelope);
            }
            self.monotonic.told(envelope.from, envelope.term)?;
            let (from, to) = ends(&envelope);
            if to < self.boards.len() {
                self.post(from, to, Letter::Raft(Box::new(envelope), cluster));
            }
        }
        Ok(())
    }

    fn cluster_of(&self, board: usize) -> Option<[u8; 16]> {
        self.boards[board].card.formation.started.as_ref().map(|started| started.cluster_id)
    }

    pub(super) fn begin_syncs(&mut self, board: usize) {
        let width = if self.plan.has(Fault::OutOfOrder) && self.phase == Phase::Safety { 3 } else { 1 };
        let now = self.now;
        let one = &mut self.boards[board];
        let (boot, slow) = (one.boots, one.slow_until > now);
        let Some(Process::Member(member)) = &mut one.process else { return };
        while member.under_way < width && member.waiting() > 0 {
            member.groups += 1;
            member.under_way += 1;
            let group = member.groups;
            let count = self.disk_rng.between(1, SYNC_BATCHES_MAX as u64) as usize;
            for handed in member.handed.iter_mut().filter(|handed| handed.group.is_none()).take(count) {
                handed.group = Some(group);
            }
            let mut takes = self.disk_rng.between(100, self.plan.sync_max);
            if slow {
                takes *= 15;
            }
            if let NextSync::Stalls(stall) = one.next_sync {
                takes += stall;
                one.next_sync = NextSync::Fine;
            }
            self.queue.post(now + takes, Event::Synced { board, boot, group });
        }
    }

    fn synced(&mut self, board: usize, boot: u64, group: u64) -> Verdict {
        let one = &mut self.boards[board];
        if one.boots != boot {
            return Ok(());
        }
        let Some(Process::Member(member)) = &mut one.process else { return Ok(()) };
        if one.next_sync == NextSync::Fails {
            self.acts.note(Fault::FailingSync);
            return self.crash(board);
        }
        let in_order = member.handed.front().is_none_or(|handed| handed.group == Some(group));
        if !in_order {
            self.acts.note(Fault::OutOfOrder);
        }
        let too_early = planted::is_planted(planted::Bug::AnchorBeforeSync);
        if too_early && let Some(handed) = member.handed.back() {
            // The mistake: it tells of what the next sync is to write.
            if let Some(last) = handed.batch.entries.last()
                && last.id.index > one.card.anchor.reached.index
            {
                let hard = one.card.log.hard;
                one.card.write_anchor(hard, last.id);
            }
        }
        let done: Vec<Seq> = member.complete(group, &mut one.card.log);
        self.raise_anchor(board);
        for seq in done {
            self.feed(board, Input::Persisted(seq))?;
        }
        self.begin_syncs(board);
        Ok(())
    }

    /// Behind a sync, of what it or an earlier one made durable.
    fn raise_anchor(&mut self, board: usize) {
        let lag = self.disk_rng.between(1, ANCHOR_LAG_MAX);
        let one = &mut self.boards[board];
        let Some(Process::Member(member)) = &one.process else { return };
        let settled = member.settled();
        if settled.index >= one.card.anchor.reached.index + lag && one.card.log.covers(settled) {
            let hard = one.card.log.hard;
            one.card.write_anchor(hard, settled);
        }
    }

    /// Looks at everything again.
    fn recount(&mut self) -> Verdict {
        for property in [Property::DurableOnAQuorum, Property::LogMatching, Property::StateMachineSafety] {
            self.note(property);
        }
        DurableOnAQuorum::recount(&self.ledger, self.recounted, |id, at| self.had(id, at))?;
        for board in 0..self.boards.len() {
            let one = &self.boards[board];
            let Some(member) = one.member() else { continue };
            let (id, node) = (one.id, member.replica.node());
            for entry in &member.view.entries {
                let same = node.term_at(entry.id.index) == Some(entry.id.term);
                Property::LogMatching.holds(same, || format!("{id:?} has handed out another log than it works with at {}", entry.id))?;
            }
            for committed in
                self.ledger.all().iter().skip(member.view.mark.index as usize).take_while(|one| one.id.index <= member.seen.commit)
            {
                CommittedIsImmutable::again(
                    id,
                    LogId::new(node.term_at(committed.id.index).unwrap_or_default(), committed.id.index),
                    None,
                    &self.ledger,
                )?;
            }
            let applied = member.state.applied().map_err(|error| Property::Asserts.broken(error.to_string()))?;
            let listed = replica::state::list(&member.state, b"", b"", usize::MAX, usize::MAX);
            let listed = listed.map_err(|error| Property::StateMachineSafety.broken(error.to_string()))?;
            self.model.lists(applied.index, &listed)?;
            for (key, _) in &listed {
                let key = Key::new(key.clone()).expect("a key that was written");
                let record = replica::state::get(&member.state, &key).map_err(|error| Property::Asserts.broken(error.to_string()))?;
                let same = record.as_ref() == self.model.at(key.as_bytes(), applied.index);
                Property::StateMachineSafety.holds(same, || format!("{id:?} holds {record:?} under {key:?} at {applied}"))?;
            }
        }
        Ok(())
    }

    fn next_phase(&mut self) -> Verdict {
        match self.phase {
            Phase::Safety => {
                self.phase = Phase::Served;
                self.phase_ends = self.now + SERVED_WITHIN_TICKS * TICK;
                self.heal()
            }
            Phase::Served => {
                let waiting = self.clients.iter().filter(|client| client.served == 0).count();
                Err(Property::Liveness
                    .broken(format!("{waiting} clients were not served within {SERVED_WITHIN_TICKS} ticks: {}", self.portrait())))
            }
            Phase::Silent => Err(Property::Liveness.broken(format!("no agreement in time: {}", self.portrait()))),
            Phase::Over => Ok(()),
        }
    }

    /// Whether the phase's aim is reached.
    fn look(&mut self) -> Verdict {
        self.queue.post(self.now + LOOK_TICKS * TICK, Event::Look);
        match self.phase {
            Phase::Served if self.clients.iter().all(|client| client.served >= 3) => {
                self.note(Property::Liveness);
                self.phase = Phase::Silent;
                let lag = self.boards.iter().filter_map(|board| board.member()).map(|member| self.ledger.end() - member.seen.commit);
                let catch_up = lag.max().unwrap_or_default() * CATCH_UP_TICKS_PER_ENTRY;
                self.phase_ends = self.now + (AGREED_WITHIN_TICKS + catch_up) * TICK;
            }
            Phase::Silent if self.all_agree() => {
                self.note(Property::Liveness);
                self.phase = Phase::Over;
            }
            _ => {}
        }
        Ok(())
    }

    /// One leader, and everybody who is up and belongs to the cluster has applied all that is committed.
    fn all_agree(&self) -> bool {
        let membership = self.ledger.membership();
        let end = self.ledger.end();
        let leaders = self.boards.iter().filter(|board| board.leads()).count();
        let members = self.boards.iter().filter(|board| membership.contains(board.id) && board.process.is_some());
        leaders == 1
            && !membership.is_joint()
            && self.clients.iter().all(Client::is_idle)
            && members.clone().all(|board| {
                board.member().is_some_and(|member| member.seen.applied == end && member.seen.commit == end && member.missing.is_empty())
            })
    }

    /// For people: who stands where.
    pub fn portrait(&self) -> String {
        let mut lines = vec![format!("committed {} under {:?}", self.ledger.end(), self.ledger.membership())];
        for board in &self.boards {
            lines.push(match board.member() {
                None => format!("{:?}: {}", board.id, if board.process.is_some() { "forming" } else { "off" }),
                Some(member) => format!(
                    "{:?}: {:?} log {}..{} disk ..{} role {:?} leader {:?} members {:?} applying {:?} missing {} handed {}",
                    board.id,
                    member.seen,
                    member.view.mark,
                    member.view.last(),
                    board.card.log.last(),
                    member.replica.status().role,
                    member.replica.node().leader(),
                    member.replica.node().membership(),
                    member.applying.is_some(),
                    member.missing.len(),
                    member.handed.len(),
                ),
            });
        }
        lines.join("\n  ")
    }

    fn heal(&mut self) -> Verdict {
        self.network.heal();
        let resting = self.resting();
        for board in 0..self.boards.len() {
            let one = &mut self.boards[board];
            one.paused_until = 0;
            one.slow_until = 0;
            one.next_sync = NextSync::Fine;
            one.interval = TICK;
            one.room = Room::Enough;
            if resting.contains(&board) {
                self.crash_for_good(board)?;
                continue;
            }
            self.feed(board, Input::Room(Room::Enough))?;
            self.start(board)?;
        }
        self.clients.iter_mut().for_each(|client| client.served = 0);
        Ok(())
    }

    /// A minority that stays off, now and then.
    fn resting(&mut self) -> Vec<usize> {
        let mut resting = Vec::new();
        if !self.has_formed() {
            return resting;
        }
        for board in 0..self.boards.len() {
            if self.trouble_rng.chance(250) && self.can_do_without(board, &resting) {
                resting.push(board);
            }
        }
        resting
    }

    pub(super) fn ticket(&mut self, owner: Owner, board: usize) -> u64 {
        let floor = self.linearizability.floor();
        self.tickets.push(Ticket { owner, board, boot: self.boards[board].boots, answered: false, floor });
        self.tickets.len() as u64 - 1
    }

    /// Whose request it was, and whether it may be answered here and now.
    pub(super) fn take_ticket(&mut self, board: usize, ticket: u64, reply: &Reply) -> Result<Owner, Broken> {
        let boot = self.boards[board].boots;
        let known = &mut self.tickets[ticket as usize];
        let again = std::mem::replace(&mut known.answered, true);
        let mine = known.board == board && known.boot == boot;
        let (owner, floor) = (known.owner, known.floor);
        Property::ExactlyOnce.holds(mine && !again, || format!("a second or foreign answer: {reply:?}"))?;
        if let (Reply::ReadNow, Some(member)) = (reply, self.boards[board].member()) {
            let at = member.replica.applied();
            self.note(Property::Linearizability);
            Linearizability::read(at, floor)?;
        }
        Ok(owner)
    }
}

/// The entry with which its leadership began.
fn node_since(member: &Member) -> Option<LogId> {
    let since = member.replica.node().leads_since()?;
    member.view.term_at(since).map(|term| LogId::new(term, since))
}

/// The blob that an entry refers to.
pub(super) fn is_manifest(entry: &raft::Entry) -> Option<super::card::Hash> {
    match &entry.payload {
        raft::Payload::Command(bytes) => replica::Command::decode(bytes).ok()?.needs_blob(),
        _ => None,
    }
}
