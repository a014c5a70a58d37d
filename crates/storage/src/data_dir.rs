//! One node's directory: what lies where, and whether it belongs together.
//!
//! | name | what |
//! |---|---|
//! | `LOCK` | held by the running process |
//! | `raft/` | log, hard state, formation |
//! | `anchor` | how far `raft/` once was |
//! | `state.<g>/` | the state machine, of generation `g` |
//! | `blobs/` | large values |
//! | `reserve` | space set aside |
//!
//! A node is born in this order, each step durable before the next:
//!
//! 1. the directory and `LOCK`;
//! 2. `raft.new/`, a log holding only the formation record, closed again;
//! 3. its rename to `raft/`: from here on the node has its id;
//! 4. `anchor`;
//! 5. everything else, by whoever opens it.
//!
//! The process hands out nothing before step 4, so a crash in between leaves one of these, which the next start finishes:
//! a `raft.new/` (deleted, begun again), or a `raft/` without term, promise and entries and nothing beside it (gets its anchor).
//!
//! Everything else that lacks a part is refused: a log without its anchor, an anchor or a state without its log, or two nodes'
//! parts mixed. Such a node has forgotten what others count on, or its disk is not mounted; only a person can tell which.
//!
//! Forgetting the formation removes the anchor, replaces the identity, makes the anchor anew. A crash in between leaves a lived-in
//! directory without anchor, which a start refuses; the same command, run again, finishes.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use raft::{HardState, LogId, NodeId};

use crate::{Anchor, AnchorRecord, Error, Formation, RocksState, RocksTuning, SegmentLog, StateStore as _, durable};

/// The directory of one node, locked against other processes while this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    generation: u64,
    _lock: File,
}

/// What [`DataDir::open`] found or made.
pub struct Opened {
    pub dir: DataDir,
    pub log: SegmentLog,
    pub anchor: Anchor,
    pub formation: Formation,
    /// Nothing was there before.
    pub created: bool,
}

const LOCK: &str = "LOCK";
const RAFT: &str = "raft";
const RAFT_UNBORN: &str = "raft.new";
const ANCHOR: &str = "anchor";
const STATE_PREFIX: &str = "state.";
const BLOBS: &str = "blobs";
const RESERVE: &str = "reserve";

impl DataDir {
    /// Opens the directory, or makes one for a new node: `node_if_new` and `cluster_name_if_new` are for that only.
    pub fn open(path: &Path, node_if_new: NodeId, cluster_name_if_new: &str) -> Result<Opened, Error> {
        let lock = lock(path)?;
        let created = is_blank(path)?;
        if created {
            give_birth(path, node_if_new, cluster_name_if_new)?;
        }
        let log = SegmentLog::open(&path.join(RAFT))?;
        let formation = log.formation()?;
        let anchor = match path.join(ANCHOR).exists() {
            true => Anchor::open(&path.join(ANCHOR))?,
            false if is_newborn(path, &log, &formation)? => {
                log::info!(node:% = formation.node; "data directory made");
                Anchor::create(&path.join(ANCHOR), AnchorRecord::blank(formation.node))?
            }
            false => return Err(foreign(path, LOST_ANCHOR)),
        };
        check_together(path, &formation, anchor.read())?;
        let dir = DataDir { path: path.into(), generation: log.generation(), _lock: lock };
        Ok(Opened { dir, log, anchor, formation, created })
    }

    /// Gives the node a new id and takes back its promise. Refused once others may count on it: when its log holds an entry, its
    /// state was applied, or its anchor says that either was once the case.
    pub fn forget_formation(path: &Path, new_node: NodeId, tuning: &RocksTuning) -> Result<(), Error> {
        // A mistyped or forgotten --data-dir must not read as success, nor leave a directory behind.
        let uninhabited = || Error::Uninhabited { path: path.into() };
        if !path.exists() {
            return Err(uninhabited());
        }
        let _lock = lock(path)?;
        if is_blank(path)? {
            return Err(uninhabited());
        }
        let log = SegmentLog::open(&path.join(RAFT))?;
        let anchor_path = path.join(ANCHOR);
        let reached = match anchor_path.exists() {
            true => Anchor::open(&anchor_path)?.read().reached,
            false => LogId::ZERO,
        };
        let applied = RocksState::open(&state_path(path, log.generation()), tuning)?.applied()?;
        if log.last_index() > 0 || applied != LogId::ZERO || reached != LogId::ZERO {
            let detail =
                "this node belongs to a cluster, whose other members count on it; forget-formation is for nodes that never joined one";
            return Err(Error::HoldsData { path: path.into(), detail: detail.into() });
        }
        durable::unlink(&anchor_path)?;
        let cluster_name = log.formation()?.cluster_name;
        log.reset_identity(&Formation { node: new_node, cluster_name, promised: None, started: None })?;
        Anchor::create(&anchor_path, AnchorRecord::blank(new_node))?;
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn raft_path(&self) -> PathBuf {
        self.path.join(RAFT)
    }

    /// Of the state database in force.
    pub fn state_path(&self) -> PathBuf {
        state_path(&self.path, self.generation)
    }

    pub fn blobs_path(&self) -> PathBuf {
        self.path.join(BLOBS)
    }

    pub fn anchor_path(&self) -> PathBuf {
        self.path.join(ANCHOR)
    }

    pub fn reserve_path(&self) -> PathBuf {
        self.path.join(RESERVE)
    }
}

const LOST_ANCHOR: &str = "raft/ holds this node's promises, but the file `anchor` beside it is missing. \
     If `rusty-kvd --forget-formation` was interrupted, run it again; if this is a partial copy, bring back the whole directory; \
     otherwise move the directory away and start anew: the board then is a new node";
const LOST_LOG: &str = "raft/ is missing, but other parts of a node are there. \
     If the data lies on a disk of its own, mount it first; if this is a partial copy, bring back the whole directory; \
     otherwise move the directory away and start anew: the board then is a new node";

fn state_path(path: &Path, generation: u64) -> PathBuf {
    path.join(format!("{STATE_PREFIX}{generation}"))
}

/// Makes the directory if needed and takes its lock. The lock goes when the file is closed, also by a crash.
fn lock(path: &Path) -> Result<File, Error> {
    durable::create_dirs(path)?;
    let lock_path = path.join(LOCK);
    let file = File::options().create(true).append(true).open(&lock_path).map_err(Error::io("cannot open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(Error::io("cannot lock", &lock_path)(error)),
    }
}

/// Whether no node lives here yet. Parts of one without its log are refused.
fn is_blank(path: &Path) -> Result<bool, Error> {
    if path.join(RAFT).is_dir() {
        return Ok(false);
    }
    match path.join(ANCHOR).exists() || is_lived_in(path)? {
        true => Err(foreign(path, LOST_LOG)),
        false => Ok(true),
    }
}

/// Whether there is anything that only a node with an anchor makes.
fn is_lived_in(path: &Path) -> Result<bool, Error> {
    for item in fs::read_dir(path).map_err(Error::io("cannot read", path))? {
        let name = item.map_err(Error::io("cannot read", path))?.file_name();
        let name = name.to_string_lossy();
        if name == BLOBS || name == RESERVE || name.starts_with(STATE_PREFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Steps 2 and 3 of a birth.
fn give_birth(path: &Path, node: NodeId, cluster_name: &str) -> Result<(), Error> {
    let unborn = path.join(RAFT_UNBORN);
    if unborn.exists() {
        fs::remove_dir_all(&unborn).map_err(Error::io("cannot remove", &unborn))?;
    }
    let formation = Formation { node, cluster_name: cluster_name.into(), promised: None, started: None };
    drop(SegmentLog::create(&unborn, &formation)?);
    durable::rename(&unborn, &path.join(RAFT))
}

/// Whether the node has its id and has never used it.
fn is_newborn(path: &Path, log: &SegmentLog, formation: &Formation) -> Result<bool, Error> {
    let unused = log.last_index() == 0 && log.hard_state() == HardState::default();
    Ok(unused && formation.promised.is_none() && formation.started.is_none() && !is_lived_in(path)?)
}

/// The anchor may lag behind a start of the cluster, but never names another one.
fn check_together(path: &Path, formation: &Formation, anchor: &AnchorRecord) -> Result<(), Error> {
    let cluster_id = formation.started.as_ref().map(|started| started.cluster_id);
    if formation.node == anchor.node && (anchor.cluster_id.is_none() || anchor.cluster_id == cluster_id) {
        return Ok(());
    }
    let whose = match formation.node == anchor.node {
        true => "another cluster".to_owned(),
        false => format!("node {}, not of node {}", anchor.node, formation.node),
    };
    Err(foreign(
        path,
        &format!(
            "`anchor` is of {whose}. Files of different nodes were mixed, or an old copy of raft/ was put back; bring back the whole directory of one node"
        ),
    ))
}

fn foreign(path: &Path, detail: &str) -> Error {
    Error::Foreign { path: path.into(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raft::{Batch, Entry, Membership, Payload, Term};

    use super::*;
    use crate::{LogStore as _, Started, Write, scratch::Scratch};

    const ME: NodeId = NodeId(11);
    const OTHER: NodeId = NodeId(12);

    fn open(path: &Path, node_if_new: NodeId) -> Result<Opened, Error> {
        DataDir::open(path, node_if_new, "home")
    }

    fn one_entry() -> Batch {
        let entry = Entry { id: LogId::new(Term(1), 1), payload: Payload::Command(Arc::from(&b"x"[..])) };
        Batch { hard: Some(HardState { term: Term(1), vote: None }), entries: vec![entry], ..Batch::default() }
    }

    fn promise() -> Formation {
        Formation { node: ME, cluster_name: "home".into(), promised: Some(vec![ME, OTHER]), started: None }
    }

    fn assert_foreign(result: Result<Opened, Error>, hint: &str) {
        match result.map(|_| ()) {
            Err(Error::Foreign { detail, .. }) => assert!(detail.contains(hint), "{detail:?} does not say {hint:?}"),
            other => panic!("opened as {other:?}"),
        }
    }

    #[test]
    fn a_node_keeps_its_id() {
        let scratch = Scratch::new();
        let path = scratch.join("deep/data");
        let first = open(&path, ME).unwrap();
        assert!(first.created);
        assert_eq!(first.formation, Formation { promised: None, ..promise() });
        assert_eq!(*first.anchor.read(), AnchorRecord::blank(ME));
        drop(first);
        let again = open(&path, OTHER).unwrap();
        assert!(!again.created);
        assert_eq!(again.formation.node, ME);
    }

    #[test]
    fn a_second_process_is_told_so() {
        let scratch = Scratch::new();
        let _first = open(&scratch, ME).unwrap();
        assert!(matches!(open(&scratch, ME).map(|_| ()), Err(Error::Locked { .. })));
    }

    #[test]
    fn a_birth_cut_short_anywhere_is_finished() {
        // With nothing but the half-written database.
        let scratch = Scratch::new();
        fs::create_dir(scratch.join(RAFT_UNBORN)).unwrap();
        fs::write(scratch.join(RAFT_UNBORN).join("formation"), "half").unwrap();
        assert_eq!(open(&scratch, ME).unwrap().formation.node, ME);
        // With the database, before the anchor: the id it has got stays.
        let scratch = Scratch::new();
        drop(open(&scratch, ME).unwrap());
        fs::remove_file(scratch.join(ANCHOR)).unwrap();
        fs::write(scratch.join("anchor.new"), "half").unwrap();
        let finished = open(&scratch, OTHER).unwrap();
        assert_eq!(finished.formation.node, ME);
        assert_eq!(finished.anchor.read().node, ME);
    }

    #[test]
    fn a_log_without_its_anchor_is_refused() {
        let scratch = Scratch::new();
        let opened = open(&scratch, ME).unwrap();
        opened.log.persist(&[one_entry()]).unwrap();
        drop(opened);
        fs::remove_file(scratch.join(ANCHOR)).unwrap();
        assert_foreign(open(&scratch, ME), "`anchor` beside it is missing");
    }

    #[test]
    fn parts_without_their_log_are_refused() {
        let scratch = Scratch::new();
        drop(open(&scratch, ME).unwrap());
        fs::remove_dir_all(scratch.join(RAFT)).unwrap();
        assert_foreign(open(&scratch, ME), "mount it first");
        fs::remove_file(scratch.join(ANCHOR)).unwrap();
        fs::create_dir(scratch.join("state.0")).unwrap();
        assert_foreign(open(&scratch, ME), "mount it first");
    }

    #[test]
    fn a_log_that_lost_its_files_is_refused_and_not_begun_anew() {
        let scratch = Scratch::new();
        drop(open(&scratch, ME).unwrap());
        for part in ["formation", "log.00000000000000000000"] {
            fs::rename(scratch.join(RAFT).join(part), scratch.join("aside")).unwrap();
            assert!(matches!(open(&scratch, ME).map(|_| ()), Err(Error::Corrupt { .. })), "without {part}");
            fs::rename(scratch.join("aside"), scratch.join(RAFT).join(part)).unwrap();
        }
        open(&scratch, ME).unwrap();
    }

    #[test]
    fn two_nodes_parts_do_not_mix() {
        let (mine, other) = (Scratch::new(), Scratch::new());
        drop(open(&mine, ME).unwrap());
        drop(open(&other, OTHER).unwrap());
        fs::copy(other.join(ANCHOR), mine.join(ANCHOR)).unwrap();
        assert_foreign(open(&mine, ME), "bring back the whole directory");
    }

    #[test]
    fn the_anchor_of_another_cluster_is_refused() {
        let scratch = Scratch::new();
        let mut opened = open(&scratch, ME).unwrap();
        let started = Started { cluster_id: [1; 16], membership: Membership::of_voters([ME]) };
        opened.log.save_formation(&Formation { started: Some(started), ..promise() }).unwrap();
        drop(opened.log);
        opened.anchor.write(&AnchorRecord { cluster_id: Some([2; 16]), ..AnchorRecord::blank(ME) }).unwrap();
        drop(opened.dir);
        assert_foreign(open(&scratch, ME), "another cluster");
    }

    #[test]
    fn a_promise_is_forgotten_under_a_new_id() {
        let scratch = Scratch::new();
        let opened = open(&scratch, ME).unwrap();
        opened.log.save_formation(&promise()).unwrap();
        opened.log.persist(&[Batch { hard: one_entry().hard, ..Batch::default() }]).unwrap();
        drop(opened);
        DataDir::forget_formation(&scratch, OTHER, &RocksTuning::default()).unwrap();
        let opened = open(&scratch, ME).unwrap();
        assert_eq!(opened.formation, Formation { node: OTHER, promised: None, ..promise() });
        assert_eq!(*opened.anchor.read(), AnchorRecord::blank(OTHER));
        assert_eq!(opened.log.hard_state(), HardState::default());
    }

    #[test]
    fn forgetting_cut_short_is_finished_by_the_same_command() {
        let scratch = Scratch::new();
        let opened = open(&scratch, ME).unwrap();
        opened.log.save_formation(&promise()).unwrap();
        drop(opened);
        fs::remove_file(scratch.join(ANCHOR)).unwrap();
        assert_foreign(open(&scratch, ME), "--forget-formation");
        DataDir::forget_formation(&scratch, OTHER, &RocksTuning::default()).unwrap();
        assert_eq!(open(&scratch, ME).unwrap().formation.node, OTHER);
    }

    #[test]
    fn where_no_node_lives_nothing_is_forgotten_or_made() {
        let scratch = Scratch::new();
        let forget = |path: &Path| DataDir::forget_formation(path, OTHER, &RocksTuning::default());
        assert!(matches!(forget(&scratch), Err(Error::Uninhabited { .. })));
        let mistyped = scratch.join("mistyped");
        assert!(matches!(forget(&mistyped), Err(Error::Uninhabited { .. })));
        assert!(!mistyped.exists());
    }

    #[test]
    fn a_member_never_forgets() {
        let forget = |path: &Path| DataDir::forget_formation(path, OTHER, &RocksTuning::default());
        let with_entry = Scratch::new();
        open(&with_entry, ME).unwrap().log.persist(&[one_entry()]).unwrap();
        assert!(matches!(forget(&with_entry), Err(Error::HoldsData { .. })));
        let applied = Scratch::new();
        let opened = open(&applied, ME).unwrap();
        let state = RocksState::open(&opened.dir.state_path(), &RocksTuning::default()).unwrap();
        state.write(vec![Write::Put(b"k".to_vec(), b"v".to_vec())], LogId::new(Term(1), 1)).unwrap();
        drop((state, opened));
        assert!(matches!(forget(&applied), Err(Error::HoldsData { .. })));
        let lost_log = Scratch::new();
        let mut opened = open(&lost_log, ME).unwrap();
        opened.anchor.write(&AnchorRecord { reached: LogId::new(Term(1), 1), ..AnchorRecord::blank(ME) }).unwrap();
        drop(opened);
        assert!(matches!(forget(&lost_log), Err(Error::HoldsData { .. })), "the anchor remembers what the log lost");
        assert_eq!(open(&with_entry, OTHER).unwrap().formation.node, ME);
    }
}
