//! A disk that is full for true: a small file system in memory, mounted where nobody else sees it.
#![cfg(feature = "rocksdb")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use raft::{Batch, Entry, LogId, NodeId, Payload, Term};
use storage::{
    Anchor, AnchorRecord, Blobs, Error, Formation, LogStore as _, Reserve, RocksState, RocksTuning, Room, RoomState, SegmentLog,
    StateStore as _, Write,
};

const DISK_MIB: u64 = 24;
const CHECK_PERIOD_MS: u64 = 50;
/// Where the first half of a story tells the second how far it came.
const COUNT: &str = "count";
/// Tells the inner run where the small disk is.
const DISK_VAR: &str = "RUSTY_KV_SMALL_DISK";

/// Runs the stories below, each on a small disk of its own in a mount namespace of its own.
#[test]
fn a_full_disk_ends_writes_and_loses_nothing() {
    let mount_point = std::env::temp_dir().join(format!("rusty-kv-small-disk-{}", std::process::id()));
    fs::create_dir_all(&mount_point).unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK_MIB}m none \"${DISK_VAR}\"");
    let in_namespace = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &format!("{mount} && {then}")]);
        command.env(DISK_VAR, &mount_point).output().unwrap()
    };
    if !in_namespace("true").status.success() {
        println!("SKIPPED: this machine allows no mount namespaces");
        fs::remove_dir(&mount_point).unwrap();
        return;
    }
    let program = std::env::current_exe().unwrap();
    for story in ["log_story", "state_story", "blob_story", "room_story"] {
        let run = |story: &str| format!("'{}' --exact {story} --ignored --nocapture", program.display());
        let last = if matches!(story, "log_story" | "state_story") { format!("{story}_continued") } else { story.to_owned() };
        let first = if last == story { String::new() } else { format!("{}; ", run(story)) };
        let output = in_namespace(&format!("{{ {first}exec {}; }}", run(&last)));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success() && text.contains("1 passed"), "{story}:\n{text}");
    }
    fs::remove_dir(&mount_point).unwrap();
}

#[test]
#[ignore = "runs on a small disk only"]
fn log_story() {
    let disk = small_disk();
    let dir = disk.join("raft");
    let log = Arc::new(SegmentLog::create(&dir, &formation()).unwrap());
    let ballast = Ballast::new(&disk, 4);
    let (acknowledged, error) = until_failure(&log, |log, index| log.persist(&[append(index)]), |log| log.check());
    assert!(matches!(error, Error::NoSpace { .. } | Error::Engine { .. }), "{error}");
    ballast.remove();
    assert!(log.persist(&[append(acknowledged + 1)]).is_err(), "room again is no reason to go on: nobody knows what is written");
    assert!(log.check().is_err());
    end_with(&disk, acknowledged);
}

#[test]
#[ignore = "runs on a small disk only"]
fn log_story_continued() {
    let disk = small_disk();
    let acknowledged = left_by(&disk);
    let image = SegmentLog::open(&disk.join("raft")).unwrap().load(0).unwrap();
    assert!([acknowledged, acknowledged + 1].contains(&image.last.index), "{acknowledged} were acknowledged, {} are there", image.last);
}

#[test]
#[ignore = "runs on a small disk only"]
fn state_story() {
    let disk = small_disk();
    let dir = disk.join("state.0");
    let state = Arc::new(RocksState::open(&dir, &RocksTuning::default()).unwrap());
    let ballast = Ballast::new(&disk, 4);
    let put = |state: &RocksState, index: u64| {
        state.write(vec![Write::Put(index.to_be_bytes().to_vec(), noise(index))], LogId::new(Term(1), index))?;
        state.flush()
    };
    let (flushed, error) = until_failure(&state, put, |state| state.check());
    assert!(matches!(error, Error::NoSpace { .. } | Error::Engine { .. }), "{error}");
    ballast.remove();
    assert!(state.write(vec![], LogId::new(Term(1), flushed + 1)).is_err());
    assert!(state.check().is_err());
    end_with(&disk, flushed);
}

#[test]
#[ignore = "runs on a small disk only"]
fn state_story_continued() {
    let disk = small_disk();
    let flushed = left_by(&disk);
    let state = RocksState::open(&disk.join("state.0"), &RocksTuning::default()).unwrap();
    let applied = state.applied().unwrap().index;
    assert!(applied >= flushed, "flushed up to {flushed}, found {applied}");
    assert!(state.get(&flushed.to_be_bytes()).unwrap().is_some());
}

#[test]
#[ignore = "runs on a small disk only"]
fn blob_story() {
    let disk = small_disk();
    let blobs = Blobs::open(&disk.join("blobs")).unwrap();
    let mut small = blobs.create().unwrap();
    small.write(b"small").unwrap();
    let (small, _) = small.finish().unwrap();
    let mut upload = blobs.create().unwrap();
    let (_, error) = until_error(|index| upload.write(&noise(index)));
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!(blobs.has(&small).unwrap(), Some(5));
    drop(upload);
    let mut after = blobs.create().unwrap();
    after.write(&noise(1)).unwrap();
    after.finish().unwrap();
    let ballast = Ballast::new(&disk, DISK_MIB);
    let anchor = Anchor::create(&disk.join("anchor"), AnchorRecord::blank(NodeId(1)));
    assert!(matches!(anchor, Err(Error::NoSpace { .. })), "{anchor:?}");
    ballast.remove();
    Anchor::create(&disk.join("anchor"), AnchorRecord::blank(NodeId(1))).unwrap();
}

#[test]
#[ignore = "runs on a small disk only"]
fn room_story() {
    let disk = small_disk();
    let room = Room::new(&disk, None);
    let reserve = Reserve::new(&disk.join("reserve")).unwrap();
    reserve.restore().unwrap();
    assert_eq!(room.read().unwrap().state, RoomState::Enough, "a small disk is not full from the start");
    let before = room.read().unwrap();
    let _ballast = Ballast::new(&disk, DISK_MIB);
    assert_eq!(room.read().unwrap().state, RoomState::Floor);
    reserve.release().unwrap();
    assert!(room.read().unwrap().free_bytes >= reserve.bytes());
    let _more = Ballast::new(&disk, DISK_MIB);
    assert!(matches!(reserve.restore(), Err(Error::NoSpace { .. })));
    assert!(!reserve.is_held() && !disk.join("reserve").exists());
    assert_eq!(before.low_mark_bytes, room.read().unwrap().low_mark_bytes);
}

fn small_disk() -> PathBuf {
    PathBuf::from(std::env::var_os(DISK_VAR).expect("started by the test above"))
}

/// Files that take up space, up to this much or all there is.
struct Ballast(PathBuf);

impl Ballast {
    fn new(disk: &Path, mib: u64) -> Ballast {
        let path = (0..).map(|number| disk.join(format!("ballast-{number}"))).find(|path| !path.exists()).unwrap();
        // On a full disk what fits has been written.
        let _ = fs::write(&path, vec![1; (mib << 20) as usize]);
        Ballast(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// How often it went well until the store failed: told by a write, or to whoever asks every moment. A running node asks, too, because
/// a write can hang for ever behind a flush that found no room.
fn until_failure<S: Send + Sync + 'static>(
    store: &Arc<S>,
    act: impl Fn(&S, u64) -> Result<(), Error> + Send + 'static,
    check: impl Fn(&S) -> Result<(), Error>,
) -> (u64, Error) {
    let done = Arc::new(AtomicU64::new(0));
    let (failed, failure) = mpsc::channel();
    let (writer, count) = (store.clone(), done.clone());
    thread::spawn(move || {
        let counted = |number| act(&writer, number).map(|()| count.store(number, Ordering::SeqCst));
        let _ = failed.send(until_error(counted).1);
    });
    loop {
        let error = failure.recv_timeout(Duration::from_millis(CHECK_PERIOD_MS)).ok().or_else(|| check(store).err());
        if let Some(error) = error {
            return (done.load(Ordering::SeqCst), error);
        }
    }
}

/// Leaves a number to the next process and ends this one at once: a hanging write would keep the store open for ever.
fn end_with(disk: &Path, count: u64) -> ! {
    fs::write(disk.join(COUNT), count.to_string()).unwrap();
    std::process::abort()
}

fn left_by(disk: &Path) -> u64 {
    fs::read_to_string(disk.join(COUNT)).expect("the first half of the story ended well").parse().unwrap()
}

/// How often it went well, and why it no longer did.
fn until_error(mut act: impl FnMut(u64) -> Result<(), Error>) -> (u64, Error) {
    for number in 1..10_000 {
        if let Err(error) = act(number) {
            return (number - 1, error);
        }
    }
    panic!("the disk never filled up");
}

fn append(index: u64) -> Batch {
    let entry = Entry { id: LogId::new(Term(1), index), payload: Payload::Command(Arc::from(noise(index))) };
    Batch { entries: vec![entry], ..Batch::default() }
}

/// 64 KiB that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..64 << 10).map(|_| next()).collect()
}

fn formation() -> Formation {
    Formation { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None }
}
