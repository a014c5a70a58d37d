//! A LAN of boards under a weather.

use std::collections::{BTreeMap, BTreeSet};

use raft::NodeId;
use replica::Sighting;

use super::{Board, Flaw, Ledger, Scenario, Setup, Weather};
use crate::Rng;

/// A board asks all others who they are this often.
const ASK_EVERY_TICKS: u64 = 5;
/// A started node knocks at the others this often, on average.
const HELLO_EVERY_TICKS: u64 = 20;
/// A crashed board is back after at most this.
const DOWN_MAX_TICKS: u64 = 60;

pub struct World {
    pub boards: Vec<Board>,
    pub ledger: Ledger,
    pub weather: Weather,
    /// Nodes that ever were, by name: wipes add to it.
    identities: BTreeMap<String, usize>,
    /// The smallest cluster anybody was ever told to form, by name.
    smallest: BTreeMap<String, usize>,
    rng: Rng,
    now: u64,
    back_at: Vec<u64>,
    mail: BTreeMap<(u64, u64), Mail>,
    posted: u64,
    /// `(a, b)`: nothing from `a` reaches `b`.
    cuts: BTreeSet<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct Mail {
    from: usize,
    to: usize,
    letter: Letter,
}

#[derive(Clone, Debug)]
enum Letter {
    WhoAreYou,
    IAm(Sighting),
    /// To this very node: whoever has another id by now does not hear it.
    Hello {
        to: NodeId,
        from: NodeId,
        cluster_id: [u8; 16],
        cluster_name: String,
    },
}

impl World {
    pub fn new(scenario: Scenario, rng: Rng) -> World {
        let mut world = World {
            boards: Vec::new(),
            ledger: Ledger::default(),
            weather: scenario.weather,
            identities: BTreeMap::new(),
            smallest: BTreeMap::new(),
            rng,
            now: 0,
            back_at: vec![0; scenario.boards.len()],
            mail: BTreeMap::new(),
            posted: 0,
            cuts: BTreeSet::new(),
        };
        for setup in scenario.boards {
            let id = world.new_id(&setup);
            world.boards.push(Board::new(setup, id, scenario.flaw));
            // Not all are switched on at once.
            let board = world.boards.len() - 1;
            world.back_at[board] = world.rng.between(0, DOWN_MAX_TICKS);
        }
        world
    }

    /// Lets time pass. Fails at the first tick after which something does not hold that must.
    pub fn run(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            self.tick().map_err(|broken| format!("tick {}: {broken}", self.now))?;
        }
        Ok(())
    }

    /// From now on nothing goes wrong, and every board is up.
    pub fn calm_down(&mut self) {
        self.weather = Weather::CALM;
        self.cuts.clear();
        self.back_at.fill(self.now);
    }

    pub fn all_formed(&self) -> bool {
        self.boards.iter().all(|board| board.disk().started.is_some())
    }

    /// A board starts anew as another node, as after `--forget-formation` or with a new card.
    pub fn wipe(&mut self, board: usize) {
        let setup = self.boards[board].setup.clone();
        let id = self.new_id(&setup);
        self.boards[board].wipe(id);
        self.back_at[board] = self.now + 1;
    }

    fn tick(&mut self) -> Result<(), String> {
        self.now += 1;
        while let Some(first) = self.mail.first_entry().filter(|first| first.key().0 <= self.now) {
            let mail = first.remove();
            self.deliver(mail)?;
        }
        for board in 0..self.boards.len() {
            if !self.boards[board].is_running() && self.back_at[board] <= self.now {
                self.boards[board].start();
            }
            let done = self.write_done();
            self.boards[board].tick(self.now, done, &mut self.ledger)?;
            self.speak(board);
            self.strike(board)?;
        }
        self.check_count()
    }

    fn deliver(&mut self, mail: Mail) -> Result<(), String> {
        let Mail { from, to, letter } = mail;
        match letter {
            Letter::WhoAreYou => {
                if let Some(sighting) = self.boards[to].identify() {
                    self.ledger.told(&sighting, self.boards[to].disk())?;
                    self.post(to, from, Letter::IAm(sighting));
                }
            }
            Letter::IAm(sighting) => self.boards[to].sees(sighting, self.now),
            Letter::Hello { to: id, from, cluster_id, cluster_name } if id == self.boards[to].id() => {
                let done = self.write_done();
                self.boards[to].hears_started(from, cluster_id, &cluster_name, done);
            }
            Letter::Hello { .. } => {}
        }
        Ok(())
    }

    fn speak(&mut self, board: usize) {
        if self.boards[board].is_running() && (self.now + board as u64).is_multiple_of(ASK_EVERY_TICKS) {
            for other in self.boards[board].setup.asks.clone() {
                self.post(board, other, Letter::WhoAreYou);
            }
        }
        let Some(record) = self.boards[board].started().cloned() else { return };
        let Some(started) = &record.started else { return };
        for other in 0..self.boards.len() {
            let to = self.boards[other].id();
            if other != board && started.membership.contains(to) && self.rng.chance(1000 / HELLO_EVERY_TICKS) {
                let (cluster_id, cluster_name) = (started.cluster_id, record.cluster_name.clone());
                self.post(board, other, Letter::Hello { to, from: record.node, cluster_id, cluster_name });
            }
        }
    }

    fn strike(&mut self, board: usize) -> Result<(), String> {
        if self.rng.chance(self.weather.cut) {
            let pair = (board, self.rng.index(self.boards.len()));
            if !self.cuts.remove(&pair) {
                self.cuts.insert(pair);
            }
        }
        if self.rng.chance(self.weather.crash) {
            self.crash(board)?;
        }
        if self.rng.chance(self.weather.wipe) {
            self.wipe(board);
        }
        if self.rng.chance(self.weather.replan) {
            self.crash(board)?;
            let count = self.boards.len();
            let wanted = self.rng.between(1, count as u64) as usize;
            let Setup { cluster_name, .. } = &self.boards[board].setup;
            let setup = Setup::new(&mut self.rng, board, count, wanted, &cluster_name.clone());
            self.note_plan(&setup);
            self.boards[board].replan(setup.plan, setup.asks);
        }
        Ok(())
    }

    fn crash(&mut self, board: usize) -> Result<(), String> {
        let survives = self.rng.chance(500);
        self.boards[board].crash(survives, &mut self.ledger)?;
        self.back_at[board] = self.now + self.rng.between(1, DOWN_MAX_TICKS);
        Ok(())
    }

    fn post(&mut self, from: usize, to: usize, letter: Letter) {
        if self.cuts.contains(&(from, to)) || self.rng.chance(self.weather.lost) {
            return;
        }
        let copies = if self.rng.chance(self.weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let due = self.now + self.rng.between(1, self.weather.delay_max_ticks);
            self.posted += 1;
            self.mail.insert((due, self.posted), Mail { from, to, letter: letter.clone() });
        }
    }

    fn write_done(&mut self) -> u64 {
        self.now + self.rng.between(1, self.weather.write_max_ticks)
    }

    fn new_id(&mut self, setup: &Setup) -> NodeId {
        *self.identities.entry(setup.cluster_name.clone()).or_default() += 1;
        self.note_plan(setup);
        NodeId(self.rng.draw())
    }

    fn note_plan(&mut self, setup: &Setup) {
        let smallest = self.smallest.entry(setup.cluster_name.clone()).or_insert(usize::MAX);
        *smallest = (*smallest).min(setup.wanted());
    }

    /// Fewer than 2N nodes under one name never make two clusters.
    fn check_count(&self) -> Result<(), String> {
        for (name, identities) in &self.identities {
            let clusters = self.ledger.clusters(name);
            if clusters > 1 && *identities < 2 * self.smallest[name] {
                return Err(format!("{clusters} clusters of the name \"{name}\" out of {identities} nodes"));
            }
        }
        Ok(())
    }
}

/// Whether the checks notice a flaw in some run of `scenario_of` over the seeds `0..count`.
pub fn is_noticed(flaw: Flaw, count: u64, ticks: u64, scenario_of: impl Fn(&mut Rng) -> Scenario) -> bool {
    (0..count).any(|seed| {
        let mut rng = Rng::new(seed);
        let scenario = Scenario { flaw: Some(flaw), ..scenario_of(&mut rng) };
        World::new(scenario, rng).run(ticks).is_err()
    })
}
