//! The formation record on the disk, and what a node does with it when others tell of theirs.

use std::cell::OnceCell;

use raft::NodeId;
use replica::{Formation, Plan, Sighting, Step};
use storage::{Formation as Record, LogStore as _, SegmentLog};

use super::sealed;
use crate::{script::Script, shelf::Shelf};

const SIGHTINGS_MAX: usize = 6;
const STEPS_MAX: usize = 4;

struct Stored {
    shelf: Shelf,
    log: SegmentLog,
}

thread_local! {
    static STORED: OnceCell<Stored> = const { OnceCell::new() };
}

/// A record that is accepted is read back as it was, and leads to steps that can be taken.
pub fn formation_record(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let is_whole = script.below(4) > 0;
    let piece = script.piece();
    STORED.with(|stored| {
        let Stored { shelf, log } = stored.get_or_init(stored_log);
        shelf.put("log/formation", &if is_whole { sealed(piece) } else { piece.to_vec() });
        let Ok(record) = log.formation() else { return };
        log.save_formation(&record).expect("memory can be written");
        assert_eq!(log.formation().expect("just written"), record, "a record is another one after a round");
        form(record, &mut script);
    });
}

fn stored_log() -> Stored {
    let shelf = Shelf::new();
    let blank = Record { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None };
    let log = SegmentLog::create(&shelf.path().join("log"), &blank).expect("memory can be written");
    Stored { shelf, log }
}

fn form(record: Record, script: &mut Script<'_>) {
    let plan = match script.below(3) {
        0 => Plan::Wait,
        1 => Plan::Peers { addresses: script.below(7) as usize },
        _ => Plan::Expect { nodes: script.below(8) as usize },
    };
    let mut formation = Formation::new(record, plan);
    for _ in 0..STEPS_MAX {
        let seen: Vec<Sighting> = (0..script.below(1 + SIGHTINGS_MAX as u64)).map(|_| sighting(formation.record(), script)).collect();
        let step = match (script.flag(), seen.first().map(|other| (other.id, other.cluster_id))) {
            (true, Some((id, Some(cluster)))) => formation.heard_started(id, cluster, "home"),
            _ => formation.step(&seen),
        };
        let was = (formation.record().promised.is_some(), formation.record().started.is_some());
        match step {
            Step::Promise(ids) => {
                assert_eq!(was, (false, false), "a second promise");
                formation.written(formation.with_promise(ids));
            }
            Step::Start(started) => {
                assert!(!was.1, "a second start");
                formation.written(formation.with_start(started));
            }
            Step::Wait(why) => assert!(!why.is_empty(), "waits and does not say for what"),
            Step::Formed => assert!(was.1, "formed without a start"),
        }
    }
}

fn sighting(own: &Record, script: &mut Script<'_>) -> Sighting {
    let promised = match script.below(4) {
        0 => own.promised.clone(),
        1 => Some((0..script.below(6)).map(|_| NodeId(script.near(own.node.0))).collect()),
        _ => None,
    };
    Sighting {
        id: NodeId(script.near(own.node.0)),
        cluster_name: if script.below(4) > 0 { own.cluster_name.clone() } else { String::from_utf8_lossy(script.piece()).into_owned() },
        cluster_id: script.flag().then(|| [script.byte(); 16]),
        promised,
    }
}
