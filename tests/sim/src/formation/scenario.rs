//! What a run starts from: boards, their plans, and how bad the world is to them.

use replica::Plan;

use super::Flaw;
use crate::Rng;

/// Boards that a LAN has at most.
const BOARDS_MAX: u64 = 7;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub boards: Vec<Setup>,
    pub weather: Weather,
    /// The same mistake in all boards, to see whether it is noticed.
    pub flaw: Option<Flaw>,
}

/// How one board is configured.
#[derive(Clone, Debug)]
pub struct Setup {
    pub cluster_name: String,
    pub plan: Plan,
    /// Boards it asks; with [`Plan::Expect`] all others, as mDNS shows them.
    pub asks: Vec<usize>,
}

/// Chances are per mille: of a message for the network's, of a board and tick for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub delay_max_ticks: u64,
    pub write_max_ticks: u64,
    pub crash: u64,
    pub wipe: u64,
    /// One board stops, or starts again, to hear another.
    pub cut: u64,
    /// An operator restarts a board with another plan.
    pub replan: u64,
}

impl Weather {
    pub const CALM: Weather = Weather { lost: 0, doubled: 0, delay_max_ticks: 2, write_max_ticks: 3, crash: 0, wipe: 0, cut: 0, replan: 0 };

    /// Anything from a breeze to a storm. Nothing in it makes a board forget.
    pub fn any(rng: &mut Rng) -> Weather {
        Weather {
            lost: rng.between(0, 600),
            doubled: rng.between(0, 200),
            delay_max_ticks: rng.between(1, 60),
            write_max_ticks: rng.between(1, 40),
            crash: rng.between(0, 20),
            cut: rng.between(0, 20),
            ..Weather::CALM
        }
    }
}

impl Scenario {
    /// Exactly the boards that are wanted, each told so by `--expect` or by `--peers`; none forgets.
    pub fn exact(rng: &mut Rng) -> Scenario {
        let count = rng.between(2, BOARDS_MAX) as usize;
        let boards = (0..count).map(|me| Setup::new(rng, me, count, count, "home")).collect();
        Scenario { boards, weather: Weather::any(rng), flaw: None }
    }

    /// As [`Scenario::exact`], but boards may be wiped.
    pub fn exact_with_wipes(rng: &mut Rng) -> Scenario {
        let mut scenario = Scenario::exact(rng);
        scenario.weather.wipe = rng.between(1, 8);
        scenario
    }

    /// Anything goes: surplus boards, lists that overlap, two names, wipes, changed plans, boards that were told different numbers.
    pub fn any(rng: &mut Rng) -> Scenario {
        let count = rng.between(2, BOARDS_MAX) as usize;
        let wanted = rng.between(2, count as u64) as usize;
        let two_names = rng.chance(300);
        let mistaken = rng.chance(300);
        let boards = (0..count).map(|me| {
            let name = if two_names && rng.chance(400) { "garden" } else { "home" };
            let wanted = if mistaken && rng.chance(300) { rng.between(1, count as u64) as usize } else { wanted };
            Setup::new(rng, me, count, wanted, name)
        });
        let boards = boards.collect();
        let mut weather = Weather::any(rng);
        weather.wipe = if rng.chance(500) { rng.between(0, 10) } else { 0 };
        weather.replan = if rng.chance(200) { rng.between(0, 10) } else { 0 };
        Scenario { boards, weather, flaw: None }
    }
}

impl Setup {
    pub fn new(rng: &mut Rng, me: usize, count: usize, wanted: usize, name: &str) -> Setup {
        let mut others: Vec<usize> = (0..count).filter(|other| *other != me).collect();
        let cluster_name = name.to_string();
        if rng.chance(500) {
            return Setup { cluster_name, plan: Plan::Expect { nodes: wanted }, asks: others };
        }
        while others.len() + 1 > wanted {
            others.swap_remove(rng.index(others.len()));
        }
        Setup { cluster_name, plan: Plan::Peers { addresses: others.len() }, asks: others }
    }

    /// Nodes of the cluster that this board is to form.
    pub fn wanted(&self) -> usize {
        match self.plan {
            Plan::Wait => 0,
            Plan::Peers { addresses } => addresses + 1,
            Plan::Expect { nodes } => nodes,
        }
    }
}
