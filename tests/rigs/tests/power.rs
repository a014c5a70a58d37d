//! Power cuts, under load: what was acknowledged stays, whatever the page cache held.
//!
//! Each node has a card of its own, and a cut takes away all that the node has not synced; then the journal of the file system is played back as
//! after any pulled plug, and the node starts. Values of 64 KiB come in volleys, so that single syncs carry more than a MiB, and images are uploaded
//! all the while. The cuts hit the leader and followers, one node or all; nodes that work, that start, that elect, that are being born, and nodes that were
//! killed and started again a moment before, which is when a node may take for durable what is in the page cache only.
//!
//! Meanwhile the membership changes and the lead is handed over: a fourth node is let in and put in a voter's place, and the board that had to go comes
//! back as a new one. Logs are cut so soon that snapshots travel, too. No card that is honest makes a suspect.
//!
//! A card that lies, one that confirms a flush and forgets, is not modelled.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use check::{STEPS_MAX, Verdict, check};
use proto::v1::push_blob_request::{Header, Part};
use proto::v1::{HaveQuestion, PullBlobRequest, PushBlobRequest};
use rigs::power::{Images, Loss, Mains};
use rigs::{Council, Load, Noise, Plan, control_server, is_changing, skip};

const CUTS_OF_ONE: usize = 100;
const CUTS_OF_ALL: usize = 50;
/// In a range of keys; a range is used for so many cuts.
const KEYS: u64 = 48;
const CUTS_PER_RANGE: usize = 10;
/// 2 MiB at once.
const VOLLEY_WRITES: u64 = 32;
/// The moment of a cut is drawn from this many milliseconds: behind the start of a volley, of a node, of an election.
const VOLLEY_MS: u64 = 60;
const START_MS: u64 = 80;
const FIRST_ANSWERS_MS: u64 = 150;
const ELECTION_MS: u64 = 600;
const FORMING_MS: u64 = 400;
/// Acknowledged between one cut and the next: then the cluster is in full work again.
const WARM_WRITES: u64 = 25;
const WARM_LIMIT: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    Plan { writers: 12, readers_per_node: 1, keys: KEYS, pause: Duration::from_millis(2), timeout: Duration::from_secs(20) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn one_node_after_the_other_loses_power() {
    let cuts = cuts("RUSTY_KV_POWER_CUTS_OF_ONE", CUTS_OF_ONE);
    let mut drill = match Drill::begin("power-one").await {
        Ok(drill) => drill,
        Err(reason) => return skip(&reason),
    };
    honest(drill.cut_one_by_one(cuts).await);
    honest(drill.end().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn all_nodes_lose_power_at_once() {
    let cuts = cuts("RUSTY_KV_POWER_CUTS_OF_ALL", CUTS_OF_ALL);
    let mut drill = match Drill::begin("power-all").await {
        Ok(drill) => drill,
        Err(reason) => return skip(&reason),
    };
    honest(drill.cut_all_at_once(cuts).await);
    honest(drill.end().await);
}

/// How many cuts; the default is what the promise is tested with.
fn cuts(variable: &str, default: usize) -> usize {
    let cuts = std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number of cuts"));
    println!("{cuts} cuts ({variable})");
    cuts
}

#[track_caller]
fn honest(ended: Result<(), Loss>) {
    if let Err(loss) = ended {
        panic!("{loss}");
    }
}

/// A cluster under load and under cuts.
struct Drill {
    mains: Mains,
    load: Load,
    images: Images,
    council: Council,
    count: Count,
    /// Acknowledged before the last cut.
    acknowledged: u64,
    /// Images whose every byte was looked at on the cards.
    seen_closely: usize,
    start: Instant,
}

/// Cuts, and what they met.
#[derive(Debug, Default)]
struct Count {
    cuts: usize,
    /// Writes or uploads were under way.
    in_flight: usize,
    /// Files came back shorter, or not at all.
    files_suffered: usize,
    of_leader: usize,
    right_after_restart: usize,
    in_election: usize,
    in_start: usize,
    /// The voters were being changed, or about to be.
    in_change: usize,
    /// Boards that came back as new ones.
    renewed: usize,
}

impl Drill {
    async fn begin(test: &str) -> Result<Drill, String> {
        let start = Instant::now();
        let mains = Mains::with_spare(test).await?;
        let load = Load::start(&mains.cluster, plan()).await;
        let images = Images::start(&mains.cluster).await;
        let council = Council::of(&mains.cluster).await;
        Ok(Drill { mains, load, images, council, count: Count::default(), acknowledged: 0, seen_closely: 0, start })
    }

    async fn cut_one_by_one(&mut self, cuts: usize) -> Result<(), Loss> {
        let mut victim = [0];
        for number in 0..cuts {
            if number % 5 == 4 {
                // Its power has just come back, and goes again.
                self.wait_up_to(START_MS).await;
                self.count.in_start += 1;
            } else {
                let leader = self.mains.leader().await?;
                self.warm_up().await?;
                self.propose().await?;
                // Every second time it is the leader, else one follower or the other.
                let followers = self.mains.cluster.followers(leader);
                victim = [if number % 2 == 0 { leader } else { followers[number / 2 % followers.len()] }];
                self.count.of_leader += usize::from(victim[0] == leader);
                self.load.volley(VOLLEY_WRITES);
                self.wait_up_to(VOLLEY_MS).await;
            }
            if number % 5 > 1 && number % 5 < 4 {
                self.restart(&victim, FIRST_ANSWERS_MS).await?;
            }
            self.cut(&victim);
            self.mains.start(&victim)?;
        }
        Ok(())
    }

    async fn cut_all_at_once(&mut self, cuts: usize) -> Result<(), Loss> {
        let all = self.mains.all();
        for number in 0..cuts {
            match number % 4 {
                2 => {
                    self.wait_up_to(START_MS).await;
                    self.count.in_start += 1;
                }
                3 => {
                    self.mains.awake(&all).await?;
                    self.wait_up_to(ELECTION_MS).await;
                    self.count.in_election += 1;
                }
                _ => {
                    self.mains.leader().await?;
                    self.warm_up().await?;
                    self.propose().await?;
                    self.load.volley(VOLLEY_WRITES);
                    self.wait_up_to(VOLLEY_MS).await;
                    self.count.of_leader += 1;
                }
            }
            if number % 4 == 1 {
                self.restart(&all, ELECTION_MS).await?;
            }
            self.cut(&all);
            self.look_for_images()?;
            self.mains.start(&all)?;
        }
        Ok(())
    }

    /// Sees to it that a change is under way, if it is time for one; nobody waits for it.
    async fn propose(&mut self) -> Result<(), Loss> {
        self.count.renewed += self.mains.renew().await?;
        let statuses = self.mains.cluster.statuses().await;
        if let Some(leader) = self.mains.cluster.leader_of_members(&statuses).and_then(|leader| statuses[leader].as_ref()) {
            self.council.propose(&self.mains.cluster, &statuses, leader);
            self.count.in_change += usize::from(is_changing(leader));
        }
        Ok(())
    }

    /// Waits until no change is under way and every node is a member.
    async fn end_changes(&mut self) -> Result<(), Loss> {
        self.council.adjourn().await;
        let start = Instant::now();
        loop {
            self.mains.leader().await?;
            self.count.renewed += self.mains.renew().await?;
            let statuses = self.mains.cluster.statuses().await;
            let Some(leader) = self.mains.cluster.leader_of_members(&statuses).and_then(|leader| statuses[leader].as_ref()) else {
                continue;
            };
            if !is_changing(leader) {
                if leader.members.len() == statuses.len() {
                    return Ok(());
                }
                self.council.take_in(&self.mains.cluster, &statuses);
                self.council.adjourn().await;
            }
            if start.elapsed() > WARM_LIMIT {
                let (refused, told) = (self.council.last_refusal(), statuses.iter().flatten().collect::<Vec<_>>());
                return Err(format!("with all nodes up, a change does not end within {WARM_LIMIT:?}; last refused: {refused}; {told:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until clients are served again.
    async fn warm_up(&mut self) -> Result<(), Loss> {
        let start = Instant::now();
        while self.load.acknowledged() < self.acknowledged + WARM_WRITES {
            if start.elapsed() > WARM_LIMIT {
                return Err(format!("with all nodes up, clients are not served for {WARM_LIMIT:?}"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn restart(&mut self, victims: &[usize], within_ms: u64) -> Result<(), Loss> {
        self.mains.restart(victims)?;
        self.mains.awake(victims).await?;
        self.wait_up_to(within_ms).await;
        self.count.right_after_restart += 1;
        Ok(())
    }

    fn cut(&mut self, victims: &[usize]) {
        self.count.in_flight += usize::from(self.load.in_flight() + self.images.in_flight() > 0);
        self.count.files_suffered += usize::from(self.mains.cut(victims) > 0);
        self.acknowledged = self.load.acknowledged();
        self.count.cuts += 1;
        if self.count.cuts.is_multiple_of(CUTS_PER_RANGE) {
            self.load.next_range();
        }
    }

    /// With all nodes down nobody can fetch from a peer what its own card has lost: enough cards must hold every acknowledged image.
    fn look_for_images(&mut self) -> Result<(), Loss> {
        let images = self.images.acknowledged();
        for (number, image) in images.iter().enumerate() {
            self.mains.holds(image, number >= self.seen_closely)?;
        }
        self.seen_closely = images.len();
        Ok(())
    }

    async fn end(mut self) -> Result<(), Loss> {
        self.mains.leader().await?;
        // Here already, as long as the nodes and their logs are there to be looked at.
        honest(self.end_changes().await);
        let taken = self.council.adjourn().await;
        let (count, under_cuts) = (&self.count, self.start.elapsed());
        println!("{count:?} in {under_cuts:.0?}");
        println!(
            "{} of {} cuts had writes or uploads in flight; after {} of them files were shorter or missing",
            count.in_flight, count.cuts, count.files_suffered
        );
        let (writes, unknown, reads) = (self.load.acknowledged(), self.load.unknown(), self.load.reads());
        println!("{writes} writes acknowledged, {unknown} of unknown outcome, {reads} reads");
        println!("{} images acknowledged; read back on the way {} times", self.images.acknowledged().len(), self.images.read_back());
        honest(self.images.finish(&self.mains.cluster).await);
        let history = self.load.try_finish(&self.mains.cluster).await?;
        let verdict = check(&history, STEPS_MAX);
        println!("{} operations checked: {verdict:?}", history.operations().len());
        self.mains.leader().await?;
        self.mains.cluster.equal().await;
        self.mains.cluster.assert_no_panics();
        let witness = self.mains.witness();
        println!(
            "{} terms had a leader; {} syncs of at least 1 MiB, the largest of {} bytes",
            witness.terms_with_leader(),
            witness.large_syncs,
            witness.largest_sync_bytes
        );
        let snapshots: usize = self.mains.cluster.nodes.iter().map(|node| node.count_logged("a snapshot is in force")).sum();
        println!("{taken:?} and told so; {snapshots} snapshots came into force");
        println!("{:.0?} in all", self.start.elapsed());
        self.mains.nobody_is_suspect()?;
        assert!(snapshots > 0, "no log was cut under anybody who needed it");
        assert!(count.in_change > 0 && count.renewed > 0, "no cut met a change of the membership, or none ended");
        assert!(taken.handed_over > 0, "nobody handed over");
        assert!(count.in_flight > 0 && count.files_suffered > 0, "no cut had anything in flight: nothing could be lost");
        assert!(count.of_leader > 0 && witness.terms_with_leader() > 1, "the leader never changed");
        assert!(witness.large_syncs > 0, "no sync carried a MiB");
        assert!(witness.hard_states > 0, "the nodes do not tell of their terms and votes");
        match verdict {
            Verdict::Ok => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    async fn wait_up_to(&self, ms: u64) {
        tokio::time::sleep(drawn_up_to(ms, self.count.cuts)).await;
    }
}

/// Some part of this time; which one depends on `draw` alone.
fn drawn_up_to(ms: u64, draw: usize) -> Duration {
    let drawn = (draw as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Duration::from_millis(drawn % (ms + 1))
}

/// Nodes are born and form their cluster while their power comes and goes: none becomes another one, and in the end there is one cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_cluster_forms_under_power_cuts() {
    const CLUSTERS: usize = 4;
    const CUTS: usize = 5;
    for number in 0..CLUSTERS {
        let mut mains = match Mains::blank("power-form", None, &[]) {
            Ok(mains) => mains,
            Err(reason) => return skip(&reason),
        };
        let all = mains.all();
        for cut in 0..CUTS {
            honest(mains.start(&all));
            tokio::time::sleep(drawn_up_to(FORMING_MS, number * CUTS + cut)).await;
            mains.cut(&all);
        }
        honest(mains.start(&all));
        honest(mains.formed().await);
        mains.cluster.equal().await;
    }
}

const SWALLOWER: &str = "libeatmydata.so";

/// The rig itself on trial: nodes that sync nothing must be found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn nodes_whose_syncs_are_swallowed_are_found_out_within_five_cuts() {
    let Some(library) = swallower() else {
        return skip(&format!("{SWALLOWER} is missing: apt-get install libeatmydata1"));
    };
    let env = [("LD_PRELOAD".to_owned(), library.to_string_lossy().into_owned())];
    let mut mains = match Mains::of_three("power-swallow", None, &env).await {
        Ok(mains) => mains,
        Err(reason) => return skip(&reason),
    };
    // The nodes as they were formed stay; what is acknowledged from now on is at stake.
    mains.sync_cards();
    for cut in 1..=5 {
        if let Err(loss) = lose_power_under_load(&mut mains).await {
            return println!("found out at cut {cut}: {loss}");
        }
    }
    panic!("five cuts took nothing from nodes that sync nothing: this rig cannot see a loss");
}

async fn lose_power_under_load(mains: &mut Mains) -> Result<(), Loss> {
    let all = mains.all();
    mains.leader().await?;
    let load = Load::start(&mains.cluster, plan()).await;
    let start = Instant::now();
    while load.acknowledged() < WARM_WRITES && start.elapsed() < WARM_LIMIT {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(load.acknowledged() >= WARM_WRITES, "nothing was acknowledged, so nothing could be lost");
    mains.cut(&all);
    mains.start(&all)?;
    mains.leader().await?;
    match check(&load.try_finish(&mains.cluster).await?, STEPS_MAX) {
        Verdict::Ok => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn swallower() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    dirs.chain(["/usr/lib".into()]).map(|dir| dir.join(SWALLOWER)).find(|path| path.is_file())
}

/// Whoever says that it has a blob has it after a cut in the next instant. A build that leaves out the directory's sync, in the same hands, has not: so
/// a cut that comes between that word and the next sync is seen to be one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_blob_that_a_node_says_it_has_outlives_a_cut_and_one_whose_name_was_not_synced_is_missed() {
    const TRIALS: u64 = 3;
    for (fault, is_honest) in [("", true), ("no-directory-sync", false)] {
        let env = [("RUSTY_KV_PLANTED".to_owned(), fault.to_owned())];
        let mut mains = match Mains::of_three("power-have", Some(control_server()), &env).await {
            Ok(mains) => mains,
            Err(reason) => return skip(&reason),
        };
        let mut kept = 0;
        for trial in 0..TRIALS {
            kept += u64::from(honest_word(&mut mains, trial).await.unwrap_or_else(|loss| panic!("{loss}")));
        }
        println!("planted: \"{fault}\": of {TRIALS} blobs that a node said it had, {kept} were there after the cut");
        assert!((kept == TRIALS) == is_honest, "with the fault \"{fault}\", {kept} of {TRIALS} were kept");
    }
}

/// Hands a blob to a follower as its leader would, cuts its power on its word, and asks it for the blob. Nobody else writes anything meanwhile:
/// a sync of whatever else on that card would take the name along.
async fn honest_word(mains: &mut Mains, trial: u64) -> Result<bool, Loss> {
    let leader = mains.leader().await?;
    let follower = mains.cluster.followers(leader)[trial as usize % 2];
    let status = mains.cluster.kv(leader).status().await.map_err(|status| status.to_string())?;
    let to = mains.cluster.kv(follower).status().await.map_err(|status| status.to_string())?.node_id;
    let content = Noise::new(trial, 60_000).chunk(60_000).expect("it is not empty");
    let hash = Bytes::copy_from_slice(blake3::hash(&content).as_bytes());
    let header = Header { cluster_id: status.cluster_id.clone(), from: status.node_id, to };
    let question = HaveQuestion {
        cluster_id: status.cluster_id.clone(),
        from: status.node_id,
        term: status.term,
        collect: 0,
        hash: hash.clone(),
        size: content.len() as u64,
    };
    let parts = [Part::Header(header), Part::Chunk(content), Part::End(question)].map(|part| PushBlobRequest { part: Some(part) });
    let mut raft = mains.cluster.kv(follower).raft();
    mains.idle(follower).await;
    let have = raft.push_blob(tokio_stream::iter(parts)).await.map_err(|status| status.to_string())?.into_inner();
    mains.cut(&[follower]);
    assert_eq!((have.node_id, &have.hash), (to, &hash), "the answer is of this node and about this blob");
    mains.start(&[follower])?;
    mains.leader().await?;
    let request = PullBlobRequest { cluster_id: status.cluster_id, from: status.node_id, hash: hash.clone(), offset: 0, length: 0 };
    let Ok(answer) = mains.cluster.kv(follower).raft().pull_blob(request).await else { return Ok(false) };
    let (mut stream, mut hasher) = (answer.into_inner(), blake3::Hasher::new());
    while let Ok(Some(part)) = stream.message().await {
        hasher.update(&part.chunk);
    }
    Ok(hasher.finalize().as_bytes()[..] == hash[..])
}
