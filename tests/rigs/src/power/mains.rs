//! Nodes, each on a card of its own, and the switch that takes their power away: three that form a cluster, and perhaps one to spare.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proto::v1::StatusResponse;

use super::images::Image;
use super::witness::{LOG_FILTER, Witness};
use crate::card::Card;
use crate::cluster::{Cluster, Way};
use crate::node::Node;
use crate::ports::free_ports;

const VOTERS: usize = 3;
/// Below the top of the card, so that making it is part of the story.
const DATA: &str = "data";
const SHORT_LOG: [(&str, &str); 2] = [("RUSTY_KV_STORAGE_LOG_KEEP_ENTRIES", "100"), ("RUSTY_KV_STORAGE_LOG_KEEP_MIB", "1")];
/// Sparse; what a run writes is a fraction of it.
const CARD_BYTES: u64 = 4 << 30;
/// For a start and for an election, on a machine that does other things as well.
const UP_LIMIT_S: u64 = 60;
const POLL_MS: u64 = 10;
const LOG_LINES_SHOWN: usize = 12;
/// A card that nobody has touched for this long is idle.
const IDLE_MS: u64 = 1_200;

/// What a power cut took that it must not take, in words.
pub type Loss = String;

/// Takes the cards out after its nodes have ended and before their directory goes.
#[derive(Debug)]
pub struct Mains {
    cards: Vec<Card>,
    pub cluster: Cluster,
    witness: Witness,
    /// Node id and cluster id of each node that is known to belong to the cluster.
    identities: BTreeMap<usize, (u64, Vec<u8>)>,
    /// Nodes that are not known to: they open no log before they are let in.
    outside: BTreeSet<usize>,
    /// Of each node: openings of its log up to its last start, and the term it then had on its disk.
    before: Vec<(u64, u64)>,
}

impl Mains {
    /// Started and formed. The error: why this machine cannot do it.
    pub async fn of_three(test: &str, program: Option<PathBuf>, env: &[(String, String)]) -> Result<Mains, String> {
        let mut mains = Mains::blank(test, program, env)?;
        mains.cluster.start();
        mains.formed().await.unwrap_or_else(|loss| panic!("{loss}"));
        Ok(mains)
    }

    /// On blank cards, not started. The error: why this machine cannot do it.
    pub fn blank(test: &str, program: Option<PathBuf>, env: &[(String, String)]) -> Result<Mains, String> {
        Mains::plug_in(Cluster::new(test, VOTERS, Way::Peers), program, env)
    }

    /// Three that are started and formed, with a fourth that runs outside. Their logs are cut so soon that whoever misses a moment needs a
    /// snapshot. The error: why this machine cannot do it.
    pub async fn with_spare(test: &str) -> Result<Mains, String> {
        let mut cluster = Cluster::new(test, VOTERS, Way::Peers);
        let addresses: Vec<String> = cluster.nodes.iter().map(Node::address).collect();
        let mut spare = Node::new(cluster.path(), "spare", free_ports::<1>()[0]);
        spare.args = vec!["--cluster".into(), cluster.name().into(), "--peers".into(), addresses.join(",")];
        cluster.nodes.push(spare);
        let mut mains = Mains::plug_in(cluster, None, &SHORT_LOG.map(|(name, value)| (name.to_owned(), value.to_owned())))?;
        mains.outside.insert(VOTERS);
        mains.cluster.nodes[..VOTERS].iter_mut().for_each(Node::start);
        mains.formed().await.unwrap_or_else(|loss| panic!("{loss}"));
        mains.cluster.nodes[VOTERS].start();
        Ok(mains)
    }

    fn plug_in(mut cluster: Cluster, program: Option<PathBuf>, env: &[(String, String)]) -> Result<Mains, String> {
        let mut cards = Vec::new();
        let dir = cluster.path().to_path_buf();
        for node in &mut cluster.nodes {
            let card = Card::insert(&dir, &format!("card-{}", node.name), CARD_BYTES)?;
            node.set_data_dir(&card.path().join(DATA));
            node.launcher = card.enter();
            node.env.push((LOG_FILTER.0.into(), LOG_FILTER.1.into()));
            node.env.extend_from_slice(env);
            node.program = program.clone().unwrap_or(node.program.clone());
            cards.push(card);
        }
        let witness = Witness::new(&cluster.nodes);
        let before = vec![(0, 0); cluster.nodes.len()];
        Ok(Mains { cards, cluster, witness, identities: BTreeMap::new(), outside: BTreeSet::new(), before })
    }

    /// Waits until the nodes that were started have formed their cluster; from then on they must stay who they are.
    pub async fn formed(&mut self) -> Result<(), Loss> {
        self.leader().await?;
        let statuses = self.cluster.statuses().await;
        for (index, status) in statuses.iter().enumerate().filter(|(index, _)| !self.outside.contains(index)) {
            self.identities.insert(index, identity(status.as_ref().expect("it has just answered")));
        }
        Ok(())
    }

    /// Nodes that were removed from the membership become new ones, on blank boards. Returns how many.
    pub async fn renew(&mut self) -> Result<usize, Loss> {
        let removed = self.cluster.removed().await;
        for index in &removed {
            self.cluster.nodes[*index].end();
            self.witness.hear_logs()?;
            fs::remove_dir_all(self.cards[*index].seen_from_outside().join(DATA)).map_err(|error| error.to_string())?;
            self.cards[*index].sync();
            self.witness.forget(*index);
            self.identities.remove(index);
            self.outside.insert(*index);
            self.start(&[*index])?;
        }
        Ok(removed.len())
    }

    /// No honest disk makes a suspect.
    pub fn nobody_is_suspect(&self) -> Result<(), Loss> {
        for (node, card) in self.cluster.nodes.iter().zip(&self.cards) {
            let aside = card
                .files()
                .into_keys()
                .find(|path| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("aside.")));
            let log = node.log_text();
            let told = log.lines().find(|line| line.contains("has forgotten") || line.contains("suspect"));
            if aside.is_some() || told.is_some() {
                return Err(format!("{} lost nothing that was synced, and is suspect: {told:?} {aside:?}", node.name));
            }
        }
        Ok(())
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.cluster.nodes.len()).collect()
    }

    /// The power of these nodes goes, all at once, and comes back; the nodes are not started yet. Returns how many of their files came back shorter or
    /// not at all.
    pub fn cut(&mut self, victims: &[usize]) -> usize {
        let nodes = &self.cluster.nodes;
        let affected = self.cards.iter_mut().zip(nodes).enumerate().filter(|(index, _)| victims.contains(index));
        std::thread::scope(|scope| {
            for (_, (card, node)) in affected {
                scope.spawn(move || {
                    // A process outlives the power of its card by nothing. Let live, it may see an fsync succeed that was under way when the file
                    // system was shut down, although what it was for is lost: that is not what happens when a plug is pulled.
                    node.strike();
                    card.cut();
                });
            }
        });
        for victim in victims {
            self.cluster.nodes[*victim].end();
        }
        let affected = self.cards.iter_mut().enumerate().filter(|(index, _)| victims.contains(index));
        std::thread::scope(|scope| {
            let restored: Vec<_> = affected.map(|(_, card)| scope.spawn(|| restore(card))).collect();
            restored.into_iter().map(|thread| thread.join().expect("the card comes back")).sum()
        })
    }

    /// SIGKILL, and a start at once: what was not synced is still in the page cache.
    pub fn restart(&mut self, victims: &[usize]) -> Result<(), Loss> {
        for victim in victims {
            self.cluster.nodes[*victim].end();
        }
        self.start(victims)
    }

    pub fn start(&mut self, victims: &[usize]) -> Result<(), Loss> {
        self.witness.hear_logs()?;
        for victim in victims {
            self.before[*victim] = (self.witness.openings_of(*victim), self.witness.term_of(*victim));
            self.cluster.nodes[*victim].start();
        }
        Ok(())
    }

    /// Waits until these nodes have opened their logs: from then on they vote and acknowledge.
    pub async fn awake(&mut self, victims: &[usize]) -> Result<(), Loss> {
        let end = deadline();
        loop {
            self.witness.hear_logs()?;
            let is_awake = |victim: &usize| self.outside.contains(victim) || self.witness.openings_of(*victim) > self.before[*victim].0;
            if victims.iter().all(is_awake) {
                return Ok(());
            }
            self.still_run(victims, end)?;
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    /// Waits until these nodes answer as the members that they were.
    pub async fn up(&mut self, victims: &[usize]) -> Result<(), Loss> {
        self.awake(victims).await?;
        let end = deadline();
        for victim in victims {
            let kv = self.cluster.kv(*victim);
            let status = loop {
                match kv.status().await {
                    Ok(status) if !status.cluster_id.is_empty() || self.outside.contains(victim) => break status,
                    _ => self.still_run(victims, end)?,
                }
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            };
            let name = &self.cluster.nodes[*victim].name;
            if self.identities.get(victim).is_some_and(|before| *before != identity(&status)) {
                return Err(format!("{name} has come back as another node: {status:?}"));
            }
            let before = self.before[*victim].1;
            if status.term < before {
                return Err(format!("{name} has come back in term {}, and had term {before} on its disk", status.term));
            }
        }
        Ok(())
    }

    /// Waits until all members follow one leader. Returns its index.
    pub async fn leader(&mut self) -> Result<usize, Loss> {
        let running: Vec<usize> = self.all().into_iter().filter(|index| self.cluster.nodes[*index].is_running()).collect();
        self.up(&running).await?;
        let end = deadline();
        loop {
            self.witness.hear_logs()?;
            let statuses = self.cluster.statuses().await;
            for status in statuses.iter().flatten() {
                self.witness.hear(status)?;
            }
            if let Some(leader) = self.cluster.leader_of_members(&statuses) {
                self.note_newcomers(&statuses);
                return Ok(leader);
            }
            self.still_run(&running, end)?;
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    /// Whether enough cards hold this image, whole; `closely`: every byte of it. For nodes that do not run.
    pub fn holds(&self, image: &Image, closely: bool) -> Result<(), Loss> {
        let name: String = image.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_whole = |card: &&Card| {
            let path = card.seen_from_outside().join(DATA).join("blobs").join(&name[..2]).join(&name);
            match closely {
                true => fs::read(&path).is_ok_and(|bytes| *blake3::hash(&bytes).as_bytes() == image.hash),
                false => fs::metadata(&path).is_ok_and(|meta| meta.len() == image.size),
            }
        };
        match self.cards.iter().filter(is_whole).count() {
            whole if whole > VOTERS / 2 => Ok(()),
            whole => Err(format!("{} was acknowledged, and {whole} cards hold it", image.key)),
        }
    }

    /// Everything written so far is on the cards.
    pub fn sync_cards(&self) {
        self.cards.iter().for_each(Card::sync);
    }

    /// Waits until nobody has used this card for a while.
    pub async fn idle(&self, index: usize) {
        let end = deadline();
        let mut before = String::new();
        loop {
            let now = self.cards[index].activity();
            if now == before {
                return;
            }
            assert!(Instant::now() < end, "the card of an idle node is used over and over: {now}");
            before = now;
            tokio::time::sleep(Duration::from_millis(IDLE_MS)).await;
        }
    }

    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    fn note_newcomers(&mut self, statuses: &[Option<StatusResponse>]) {
        for (index, status) in statuses.iter().enumerate() {
            let Some(status) = status.as_ref().filter(|status| !status.cluster_id.is_empty()) else { continue };
            if self.outside.remove(&index) {
                self.identities.insert(index, identity(status));
            }
        }
    }

    fn still_run(&mut self, victims: &[usize], end: Instant) -> Result<(), Loss> {
        for victim in victims {
            let node = &mut self.cluster.nodes[*victim];
            let ended = node.ended().map(|status| format!("has ended by itself, {status}"));
            let late = (Instant::now() >= end).then(|| format!("does not serve within {UP_LIMIT_S} s"));
            if let Some(what) = ended.or(late) {
                let log = node.log_text();
                let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" DEBUG ")).collect();
                return Err(format!("{} {what}:\n{}", node.name, lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")));
            }
        }
        Ok(())
    }
}

impl Drop for Mains {
    fn drop(&mut self) {
        for node in &mut self.cluster.nodes {
            node.end();
        }
    }
}

fn identity(status: &StatusResponse) -> (u64, Vec<u8>) {
    (status.node_id, status.cluster_id.to_vec())
}

/// How many files have lost something.
fn restore(card: &mut Card) -> usize {
    let before = card.files();
    card.restore();
    let after = card.files();
    before.iter().filter(|(path, length)| after.get(*path).is_none_or(|now| now < *length)).count()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(UP_LIMIT_S)
}
