//! One node's directory: what lies where, and whether it belongs together.
//!
//! | name | what |
//! |---|---|
//! | `LOCK` | held by the running process |
//! | `raft/` | log, hard state, formation |
//! | `anchor` | how far `raft/` once was |
//! | `state.<g>/` | the state machine, of generation `g` |
//! | `blobs/` | large values |
//! | `reserve` | space kept for the day the disk is full |
//! | `unverified` | blobs of a node set aside lie here, not read again yet |
//! | `suspect` | why the node must not come up under its id again |
//! | `aside.<n>/` | what was here before, of a node that had to give up its id |
//! | `aside.<n>.unfinished` | the node that takes its place, until it has |
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
//! A suspect, which has forgotten what others may count on, never comes up under its id again. Its files but the blobs are set aside
//! and a new node is born in the same cluster, each step durable before the next:
//!
//! 1. `aside.<n>/`, empty;
//! 2. `aside.<n>.unfinished`: from here on a start is refused, and the same call goes on where it stopped;
//! 3. all that belongs to the old node moves there;
//! 4. a birth, steps 2 to 4 above;
//! 5. `unverified`: the blobs are of a disk that has proven to forget, and are read before they count;
//! 6. `aside.<n>.unfinished` goes: from here on the new node lives here.
//!
//! Recovering makes a cluster of its own out of the one node whose directory this is, when the majority of the old one is gone for good. Each
//! step is durable before the next; cut short, a start is refused, and the same command, run again, finishes:
//!
//! 1. the formation record names the new cluster, with this node as its only voter: whoever speaks for the old one is refused from here on;
//! 2. the log gets a configuration that says the same, in a term of its own, behind everything that it holds;
//! 3. the anchor names the new cluster, and what the log holds now;
//! 4. word that this node is suspect goes: what it has forgotten is part of the loss that is accepted.
//!
//! A state that is ahead of its log, whose end was lost, is the log's mark from then on.
//!
//! Forgetting the formation removes the anchor, replaces the identity, makes the anchor anew. A crash in between leaves a lived-in
//! directory without anchor, which a start refuses; the same command, run again, finishes.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use raft::{Batch, Entry, HardState, Install, LogId, Membership, NodeId, Payload};

use crate::{
    Anchor, AnchorRecord, Error, Formation, LogStore as _, RocksHome, RocksTuning, SegmentLog, Started, StateHome as _, codec, durable,
    rocks::{is_state, state_path},
};

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
const SUSPECT: &str = "suspect";
const UNVERIFIED: &str = "unverified";
const PEERS: &str = "peers.toml";
const ASIDE_PREFIX: &str = "aside.";
const UNFINISHED_SUFFIX: &str = ".unfinished";
const BLOBS: &str = "blobs";
const RESERVE: &str = "reserve";

impl DataDir {
    /// Opens the directory, or makes one for a new node: `node_if_new` and `cluster_name_if_new` are for that only.
    ///
    /// An error that [`is_amnesia`](Error::is_amnesia) is of a node that can only go on by [`set_aside`](DataDir::set_aside).
    pub fn open(path: &Path, node_if_new: NodeId, cluster_name_if_new: &str) -> Result<Opened, Error> {
        let lock = lock(path)?;
        refuse_suspect(path)?;
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
            false => return Err(Error::Foreign { path: path.into(), detail: LOST_ANCHOR.into(), forgot: true }),
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
        refuse_suspect(path)?;
        if is_blank(path)? {
            return Err(uninhabited());
        }
        let log = SegmentLog::open(&path.join(RAFT))?;
        let anchor_path = path.join(ANCHOR);
        let reached = match anchor_path.exists() {
            true => Anchor::open(&anchor_path)?.read().reached,
            false => LogId::ZERO,
        };
        let applied = RocksHome::new(path, tuning.clone()).open(log.generation())?.applied()?;
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

    /// Makes this member the only voter of a new cluster that goes on with everything its log holds, committed or not. `cluster_name`
    /// must be that of the old one. Returns the last entry kept.
    ///
    /// What the lost majority had beyond it is lost; so this is for a person to decide.
    pub fn recover(path: &Path, cluster_name: &str, new_cluster_id: [u8; 16], tuning: &RocksTuning) -> Result<LogId, Error> {
        if !path.exists() {
            return Err(Error::Uninhabited { path: path.into() });
        }
        let _lock = lock(path)?;
        if unfinished_aside(path)?.is_some() {
            return Err(Error::Suspect { path: path.into(), reason: CUT_SHORT.into() });
        }
        if is_blank(path)? {
            return Err(Error::Uninhabited { path: path.into() });
        }
        let log = SegmentLog::open(&path.join(RAFT))?;
        let mut formation = log.formation()?;
        if formation.cluster_name != cluster_name {
            return Err(Error::OtherName { path: path.into(), name: formation.cluster_name });
        }
        let never = || foreign(path, "this node never belonged to a cluster, so there is nothing to recover");
        let started = formation.started.clone().ok_or_else(never)?;
        // What this disk has forgotten is part of the loss that is accepted: an anchor that is gone, or tells of more than is here, stops nothing.
        let remembered = match path.join(ANCHOR).exists() {
            true => Anchor::open(&path.join(ANCHOR))?.read().clone(),
            false => {
                let blank = AnchorRecord { cluster_id: Some(started.cluster_id), ..AnchorRecord::blank(formation.node) };
                Anchor::create(&path.join(ANCHOR), blank)?.read().clone()
            }
        };
        // Another id than the anchor's: an earlier call came as far as step 1.
        let cluster_id = if remembered.cluster_id == Some(started.cluster_id) { new_cluster_id } else { started.cluster_id };
        let membership = Membership::of_voters([formation.node]);
        formation.started = Some(Started { cluster_id, membership: membership.clone() });
        log.save_formation(&formation)?;
        let image = log.load(0)?;
        let (generation, applied) = state_left(path, log.generation(), tuning)?;
        // The state may have outlived the end of the log that made it: it then counts as a snapshot.
        let ahead = applied.index > image.last.index;
        let last = if ahead { applied } else { image.last };
        if ahead && generation == log.generation() {
            make_next(path, generation)?;
        }
        let install = ahead.then_some(Install { mark: applied, generation: log.generation() + 1 });
        let term = image.hard.term.max(last.term).max(remembered.hard.term).next();
        let hard = HardState { term, vote: None };
        let entry = Entry { id: LogId::new(term, last.index + 1), payload: Payload::Membership(membership) };
        log.persist(&[Batch { hard: Some(hard), install, entries: vec![entry], ..Batch::default() }])?;
        // Not written over the old one, which never goes back.
        Anchor::create(&path.join(ANCHOR), AnchorRecord { cluster_id: Some(cluster_id), node: formation.node, hard, reached: last })?;
        forgive(path)?;
        Ok(last)
    }

    /// Whether blobs of an earlier node lie here that nobody has read since: its disk has proven to forget.
    pub fn has_unverified_blobs(&self) -> bool {
        self.path.join(UNVERIFIED).exists()
    }

    /// Every blob here has been read, and is what its name says.
    pub fn blobs_verified(&self) -> Result<(), Error> {
        durable::unlink(&self.path.join(UNVERIFIED))
    }

    /// Leaves word that the node in this directory must not come up under its id again, durable. For the running node itself, which holds
    /// the directory's lock.
    pub fn condemn(path: &Path, reason: &str) -> Result<(), Error> {
        durable::replace_file(&path.join(SUSPECT), reason.as_bytes())
    }

    /// Moves everything but blobs and reserve of the node in this directory out of the way and gives birth to a new one in the cluster of the
    /// same name. Returns where the old one's files are. Cut short, it is finished by another call, under the new id of the first.
    pub fn set_aside(path: &Path, new_node: NodeId) -> Result<PathBuf, Error> {
        if !path.exists() {
            return Err(Error::Uninhabited { path: path.into() });
        }
        let _lock = lock(path)?;
        let (aside, newcomer) = match unfinished_aside(path)? {
            Some(unfinished) => unfinished,
            None => begin_aside(path, new_node)?,
        };
        let is_born = SegmentLog::formation_in(&path.join(RAFT)).is_ok_and(|formation| formation.node == newcomer.node);
        if !is_born {
            move_parts(path, &aside)?;
            give_birth(path, newcomer.node, &newcomer.cluster_name)?;
        }
        Anchor::create(&path.join(ANCHOR), AnchorRecord::blank(newcomer.node))?;
        durable::replace_file(&path.join(UNVERIFIED), b"")?;
        durable::unlink(&unfinished_path(&aside))?;
        log::warn!(aside:% = aside.display(), node:% = newcomer.node; "a suspect's files are set aside; a new node takes its place");
        Ok(aside)
    }

    /// Where the states of all generations are.
    pub fn state_dir(&self) -> &Path {
        &self.path
    }

    /// Of the state in force when the directory was opened.
    pub fn generation(&self) -> u64 {
        self.generation
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

const CUT_SHORT: &str = "its files were being set aside for a new node, which was cut short and has to be finished";
const LOST_NAME: &str = "the cluster's name is lost with it; move the directory away and start anew: the board then is a new node";

/// Fails if somebody left word that the node must not come up again.
fn refuse_suspect(path: &Path) -> Result<(), Error> {
    let suspect = |reason: String| Error::Suspect { path: path.into(), reason };
    if unfinished_aside(path)?.is_some() {
        return Err(suspect(CUT_SHORT.into()));
    }
    let word = path.join(SUSPECT);
    match fs::read(&word) {
        Ok(reason) => Err(suspect(String::from_utf8_lossy(&reason).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("cannot read", &word)(error)),
    }
}

/// The state's generation, and how far it is applied: the one in force, or where an earlier call has moved it.
fn state_left(path: &Path, in_force: u64, tuning: &RocksTuning) -> Result<(u64, LogId), Error> {
    let moved = !state_path(path, in_force).exists() && state_path(path, in_force + 1).exists();
    let generation = if moved { in_force + 1 } else { in_force };
    Ok((generation, RocksHome::new(path, tuning.clone()).open(generation)?.applied()?))
}

/// A log takes a state for a snapshot only under a new generation. Nobody has it open.
fn make_next(path: &Path, generation: u64) -> Result<(), Error> {
    let (from, to) = (state_path(path, generation), state_path(path, generation + 1));
    if to.exists() {
        // Of a snapshot that was never put in force.
        fs::remove_dir_all(&to).map_err(Error::io("cannot remove", &to))?;
    }
    fs::rename(&from, &to).map_err(Error::io("cannot move", &from))?;
    durable::sync_dir(path)
}

/// Takes back the word that the node must not come up again, if there is any.
fn forgive(path: &Path) -> Result<(), Error> {
    let word = path.join(SUSPECT);
    if word.exists() { durable::unlink(&word) } else { Ok(()) }
}

fn unfinished_path(aside: &Path) -> PathBuf {
    let mut path = aside.as_os_str().to_owned();
    path.push(UNFINISHED_SUFFIX);
    path.into()
}

/// Where a suspect's files are on their way to, and who takes its place.
fn unfinished_aside(path: &Path) -> Result<Option<(PathBuf, Formation)>, Error> {
    for name in names_in(path)? {
        if let Some(aside) = name.strip_suffix(UNFINISHED_SUFFIX).filter(|aside| aside.starts_with(ASIDE_PREFIX)) {
            let marker = path.join(&name);
            let bytes = fs::read(&marker).map_err(Error::io("cannot read", &marker))?;
            return Ok(Some((path.join(aside), codec::unseal(&marker, &bytes)?)));
        }
    }
    Ok(None)
}

/// Steps 1 and 2 of setting aside.
fn begin_aside(path: &Path, new_node: NodeId) -> Result<(PathBuf, Formation), Error> {
    if is_blank(path)? {
        return Err(Error::Uninhabited { path: path.into() });
    }
    let cluster_name = match SegmentLog::formation_in(&path.join(RAFT)) {
        Ok(formation) => formation.cluster_name,
        Err(Error::Corrupt { what, detail }) => return Err(Error::Corrupt { what, detail: format!("{detail}; {LOST_NAME}") }),
        Err(error) => return Err(error),
    };
    let newcomer = Formation { node: new_node, cluster_name, promised: None, started: None };
    // A crash may have left an empty one.
    let is_free = |aside: &PathBuf| fs::read_dir(aside).map_or(!aside.exists(), |mut items| items.next().is_none());
    let aside = (1u64..).map(|number| path.join(format!("{ASIDE_PREFIX}{number}"))).find(is_free).expect("numbers do not end");
    durable::create_dirs(&aside)?;
    durable::replace_file(&unfinished_path(&aside), &codec::seal(&newcomer))?;
    Ok((aside, newcomer))
}

/// Step 3 of setting aside, or the rest of it.
fn move_parts(path: &Path, aside: &Path) -> Result<(), Error> {
    for name in names_in(path)? {
        if [RAFT, ANCHOR, SUSPECT, PEERS].contains(&name.as_str()) || is_state(OsStr::new(&name)) {
            let part = path.join(&name);
            fs::rename(&part, aside.join(&name)).map_err(Error::io("cannot move", &part))?;
        }
    }
    durable::sync_dir(aside)?;
    durable::sync_dir(path)
}

fn names_in(path: &Path) -> Result<Vec<String>, Error> {
    let items = fs::read_dir(path).map_err(Error::io("cannot read", path))?;
    items.map(|item| Ok(item.map_err(Error::io("cannot read", path))?.file_name().to_string_lossy().into_owned())).collect()
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
    let is_lived_in = |name: &String| name == BLOBS || name == RESERVE || is_state(OsStr::new(name));
    Ok(names_in(path)?.iter().any(is_lived_in))
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
            "`anchor` is of {whose}. If `rusty-kv cluster recover` was interrupted, run it again; else files of different nodes were mixed, or an \
             old copy of raft/ was put back: bring back the whole directory of one node"
        ),
    ))
}

fn foreign(path: &Path, detail: &str) -> Error {
    Error::Foreign { path: path.into(), detail: detail.into(), forgot: false }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raft::{Batch, Entry, Membership, Payload, Term};

    use super::*;
    use crate::{
        RocksState, Started, StateStore as _, Write,
        scratch::{Scratch, copy_as_killed},
    };

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

    fn member(path: &Path) -> Opened {
        let opened = open(path, ME).unwrap();
        let started = Started { cluster_id: [1; 16], membership: Membership::of_voters([ME, OTHER, NodeId(13)]) };
        opened.log.save_formation(&Formation { started: Some(started), ..promise() }).unwrap();
        opened.log.persist(&[one_entry()]).unwrap();
        opened
    }

    #[test]
    fn a_survivor_goes_on_alone_in_a_cluster_of_its_own() {
        let scratch = Scratch::new();
        let mut opened = member(&scratch);
        opened.anchor.write(&AnchorRecord { cluster_id: Some([1; 16]), ..AnchorRecord::blank(ME) }).unwrap();
        drop(opened);
        let other_name = recover(&scratch, "garden", 2).unwrap_err();
        assert!(matches!(other_name, Error::OtherName { name, .. } if name == "home"));
        assert_eq!(recover(&scratch, "home", 2).unwrap(), LogId::new(Term(1), 1));
        let opened = open(&scratch, OTHER).unwrap();
        let started = opened.formation.started.unwrap();
        assert_eq!((started.cluster_id, started.membership), ([2; 16], Membership::of_voters([ME])));
        let image = opened.log.load(0).unwrap();
        assert_eq!((image.hard.term, image.last), (Term(2), LogId::new(Term(2), 2)));
        assert_eq!(image.memberships, [(image.last, Membership::of_voters([ME]))]);
    }

    fn recover(path: &Path, name: &str, id: u8) -> Result<LogId, Error> {
        DataDir::recover(path, name, [id; 16], &RocksTuning::default())
    }

    /// As a start looks at it.
    fn suspicion_of(path: &Path) -> Option<crate::Suspicion> {
        let opened = open(path, OTHER).unwrap();
        let applied = RocksHome::new(path, RocksTuning::default()).open(opened.dir.generation()).unwrap().applied().unwrap();
        crate::suspicion(opened.anchor.read(), &opened.log.load(0).unwrap(), applied)
    }

    #[test]
    fn a_survivor_whose_disk_forgot_goes_on_with_what_is_left() {
        type Harm = fn(&Path);
        let harm: [(&str, Harm); 3] = [
            ("the anchor tells of more", |_| {}),
            ("the anchor is gone", |path| fs::remove_file(path.join(ANCHOR)).unwrap()),
            ("it was told that it is suspect", |path| DataDir::condemn(path, "it forgot").unwrap()),
        ];
        for (what, harm) in harm {
            let scratch = Scratch::new();
            let mut opened = member(&scratch);
            let reached = LogId::new(Term(4), 130);
            let hard = HardState { term: Term(4), vote: Some(OTHER) };
            opened.anchor.write(&AnchorRecord { cluster_id: Some([1; 16]), hard, reached, ..AnchorRecord::blank(ME) }).unwrap();
            drop(opened);
            harm(&scratch);
            assert_eq!(recover(&scratch, "home", 2).unwrap(), LogId::new(Term(1), 1), "{what}");
            assert!(suspicion_of(&scratch).is_none(), "{what}");
            let term = open(&scratch, OTHER).unwrap().log.load(0).unwrap().hard.term;
            assert!(what == "the anchor is gone" || term > Term(4), "{what}: no term that it was in comes again");
        }
    }

    #[test]
    fn a_state_that_outlived_its_log_is_where_the_new_cluster_begins() {
        let scratch = Scratch::new();
        let mut opened = member(&scratch);
        opened.anchor.write(&AnchorRecord { cluster_id: Some([1; 16]), ..AnchorRecord::blank(ME) }).unwrap();
        let state = RocksHome::new(&scratch, RocksTuning::default()).open(opened.dir.generation()).unwrap();
        let applied = LogId::new(Term(3), 90);
        state.write(vec![crate::Write::Put(b"key".to_vec(), b"value".to_vec())], applied).unwrap();
        state.flush().unwrap();
        drop((opened, state));
        assert_eq!(recover(&scratch, "home", 2).unwrap(), applied);
        assert!(suspicion_of(&scratch).is_none());
        let image = open(&scratch, OTHER).unwrap().log.load(0).unwrap();
        assert_eq!((image.mark, image.last), (applied, LogId::new(Term(4), 91)));
    }

    #[test]
    fn a_recovery_cut_short_is_no_cluster_yet_and_is_finished_by_the_same_command() {
        let scratch = Scratch::new();
        let mut opened = member(&scratch);
        opened.anchor.write(&AnchorRecord { cluster_id: Some([1; 16]), ..AnchorRecord::blank(ME) }).unwrap();
        let alone = Started { cluster_id: [2; 16], membership: Membership::of_voters([ME]) };
        opened.log.save_formation(&Formation { started: Some(alone), ..promise() }).unwrap();
        drop(opened);
        assert_foreign(open(&scratch, ME), "run it again");
        recover(&scratch, "home", 3).unwrap();
        assert_eq!(open(&scratch, ME).unwrap().formation.started.unwrap().cluster_id, [2; 16], "the id of the first call stays");
    }

    #[test]
    fn who_never_was_a_member_recovers_nothing() {
        let scratch = Scratch::new();
        drop(open(&scratch, ME).unwrap());
        assert_foreign(recover(&scratch, "home", 2).map(|_| unreachable!()), "nothing to recover");
        assert!(matches!(recover(&scratch.join("mistyped"), "home", 2), Err(Error::Uninhabited { .. })));
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
    const NEW: NodeId = NodeId(21);

    /// A node with all it can have, closed, and a blob.
    fn lived_in() -> Scratch {
        let scratch = Scratch::new();
        let opened = open(&scratch, ME).unwrap();
        opened.log.persist(&[one_entry()]).unwrap();
        drop(RocksHome::new(opened.dir.state_dir(), RocksTuning::default()).open(opened.dir.generation()).unwrap());
        fs::create_dir(opened.dir.blobs_path()).unwrap();
        fs::write(opened.dir.blobs_path().join("x"), "blob").unwrap();
        fs::write(opened.dir.reserve_path(), "").unwrap();
        fs::write(scratch.join(PEERS), "").unwrap();
        scratch
    }

    fn assert_new_node(path: &Path, aside: &Path) {
        let opened = open(path, ME).unwrap();
        assert!(!opened.created);
        assert_eq!(opened.formation, Formation { node: NEW, promised: None, ..promise() });
        assert_eq!(*opened.anchor.read(), AnchorRecord::blank(NEW));
        assert_eq!((opened.log.last_index(), opened.log.hard_state()), (0, HardState::default()));
        assert_eq!(fs::read(path.join(BLOBS).join("x")).unwrap(), b"blob");
        assert!(path.join(RESERVE).exists());
        assert!(opened.dir.has_unverified_blobs(), "who is killed while reading them reads them again");
        for moved in [PEERS, SUSPECT, "state.0"] {
            assert!(!path.join(moved).exists(), "{moved} is the old node's");
        }
        for kept in [PEERS, "state.0", RAFT] {
            assert!(aside.join(kept).exists(), "{kept} is kept aside");
        }
    }

    #[test]
    fn a_suspect_is_refused_until_it_is_set_aside() {
        let scratch = lived_in();
        let running = open(&scratch, ME).unwrap();
        DataDir::condemn(running.dir.path(), "node 3 remembers more").unwrap();
        drop(running);
        for _ in 0..2 {
            let error = open(&scratch, ME).map(|_| ()).unwrap_err();
            assert!(matches!(&error, Error::Suspect { reason, .. } if reason == "node 3 remembers more"), "{error}");
            assert!(error.is_amnesia());
        }
        let forget = DataDir::forget_formation(&scratch, OTHER, &RocksTuning::default());
        assert!(matches!(forget, Err(Error::Suspect { .. })));
        let aside = DataDir::set_aside(&scratch, NEW).unwrap();
        assert_eq!(aside, scratch.join("aside.1"));
        assert_new_node(&scratch, &aside);
        assert_eq!(fs::read(aside.join(SUSPECT)).unwrap(), b"node 3 remembers more");
        let old = SegmentLog::open(&aside.join(RAFT)).unwrap();
        assert_eq!((old.formation().unwrap().node, old.last_index()), (ME, 1));
    }

    #[test]
    fn a_second_suspect_is_set_aside_beside_the_first() {
        let scratch = lived_in();
        DataDir::set_aside(&scratch, OTHER).unwrap();
        fs::create_dir(scratch.join("aside.2")).unwrap();
        fs::write(scratch.join(PEERS), "").unwrap();
        fs::create_dir(scratch.join("state.0")).unwrap();
        let aside = DataDir::set_aside(&scratch, NEW).unwrap();
        assert_eq!(aside, scratch.join("aside.2"), "an empty one is free");
        assert_new_node(&scratch, &aside);
        assert_eq!(SegmentLog::open(&aside.join(RAFT)).unwrap().formation().unwrap().node, OTHER);
        assert!(scratch.join("aside.1").join(RAFT).exists());
    }

    #[test]
    fn setting_aside_cut_short_anywhere_is_finished_and_never_comes_up_under_the_old_id() {
        let start = lived_in();
        DataDir::condemn(&start, "why").unwrap();
        // Each of these is done after the ones before it, as a crash in between would leave it.
        let steps: [&dyn Fn(&Path); 8] = [
            &|path| fs::create_dir(path.join("aside.1")).unwrap(),
            &|path| drop(begin_aside(path, NEW).unwrap()),
            &|path| fs::rename(path.join(SUSPECT), path.join("aside.1").join(SUSPECT)).unwrap(),
            &|path| fs::rename(path.join(RAFT), path.join("aside.1").join(RAFT)).unwrap(),
            &|path| fs::rename(path.join(ANCHOR), path.join("aside.1").join(ANCHOR)).unwrap(),
            &|path| move_parts(path, &path.join("aside.1")).unwrap(),
            &|path| fs::create_dir(path.join(RAFT_UNBORN)).unwrap(),
            &|path| give_birth(path, NEW, "home").unwrap(),
        ];
        for done in 0..=steps.len() {
            let scratch = Scratch::new();
            copy_as_killed(&start, &scratch);
            steps[..done].iter().for_each(|step| step(&scratch));
            let error = open(&scratch, ME).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Suspect { .. }), "after {done} steps: {error}");
            // Whoever finishes brings an id of its own, which is not needed any more once another was written down.
            let brought = if done < 2 { NEW } else { OTHER };
            let aside = DataDir::set_aside(&scratch, brought).unwrap();
            assert_new_node(&scratch, &aside);
        }
    }

    #[test]
    fn what_a_disk_spoiled_or_lost_can_be_set_aside() {
        let spoilt_log = lived_in();
        fs::write(spoilt_log.join(RAFT).join("log.00000000000000000000"), "rot").unwrap();
        let lost_log_file = lived_in();
        fs::remove_file(lost_log_file.join(RAFT).join("log.00000000000000000000")).unwrap();
        let lost_anchor = lived_in();
        fs::remove_file(lost_anchor.join(ANCHOR)).unwrap();
        let spoilt_anchor = lived_in();
        fs::write(spoilt_anchor.join(ANCHOR), "rot").unwrap();
        for scratch in [spoilt_log, lost_log_file, lost_anchor, spoilt_anchor] {
            let error = open(&scratch, ME).map(|_| ()).unwrap_err();
            assert!(error.is_amnesia(), "{error}");
            let aside = DataDir::set_aside(&scratch, NEW).unwrap();
            assert_new_node(&scratch, &aside);
        }
    }

    #[test]
    fn what_only_a_person_can_tell_is_not_set_aside() {
        let unmounted = lived_in();
        fs::remove_dir_all(unmounted.join(RAFT)).unwrap();
        let error = open(&unmounted, ME).map(|_| ()).unwrap_err();
        assert!(!error.is_amnesia(), "{error}");
        assert!(matches!(DataDir::set_aside(&unmounted, NEW), Err(Error::Foreign { .. })));
        let nameless = lived_in();
        fs::write(nameless.join(RAFT).join("formation"), "rot").unwrap();
        let error = DataDir::set_aside(&nameless, NEW).unwrap_err();
        assert!(error.to_string().contains("name is lost"), "{error}");
        for nobody in [Scratch::new().join("mistyped"), Scratch::new().to_path_buf()] {
            assert!(matches!(DataDir::set_aside(&nobody, NEW), Err(Error::Uninhabited { .. })));
        }
        let blank = Scratch::new();
        assert!(matches!(DataDir::set_aside(&blank, NEW), Err(Error::Uninhabited { .. })));
    }
}
