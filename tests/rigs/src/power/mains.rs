//! Three nodes, each on a card of its own, and the switch that takes their power away.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proto::v1::StatusResponse;

use super::images::Image;
use super::witness::{LOG_FILTER, Witness};
use crate::card::Card;
use crate::cluster::{Cluster, Way};

const NODES: usize = 3;
/// Below the top of the card, so that making it is part of the story.
const DATA: &str = "data";
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
    /// Node id and cluster id of each node.
    identities: Vec<(u64, Vec<u8>)>,
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
        let mut cluster = Cluster::new(test, NODES, Way::Peers);
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
        Ok(Mains { cards, cluster, witness, identities: Vec::new(), before: vec![(0, 0); NODES] })
    }

    /// Waits until the nodes that were started have formed their cluster; from then on they must stay who they are.
    pub async fn formed(&mut self) -> Result<(), Loss> {
        self.leader().await?;
        let statuses = self.cluster.statuses().await;
        let identity = |status: &StatusResponse| (status.node_id, status.cluster_id.to_vec());
        self.identities = statuses.iter().flatten().map(identity).collect();
        assert_eq!(self.identities.len(), NODES, "they have just answered");
        Ok(())
    }

    pub fn all(&self) -> Vec<usize> {
        (0..NODES).collect()
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
            if victims.iter().all(|victim| self.witness.openings_of(*victim) > self.before[*victim].0) {
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
                    Ok(status) if !status.cluster_id.is_empty() => break status,
                    _ => self.still_run(victims, end)?,
                }
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            };
            let name = &self.cluster.nodes[*victim].name;
            let identity = (status.node_id, status.cluster_id.to_vec());
            if self.identities.get(*victim).is_some_and(|before| *before != identity) {
                return Err(format!("{name} has come back as another node: {status:?}"));
            }
            let before = self.before[*victim].1;
            if status.term < before {
                return Err(format!("{name} has come back in term {}, and had term {before} on its disk", status.term));
            }
        }
        Ok(())
    }

    /// Waits until all nodes follow one leader. Returns its index.
    pub async fn leader(&mut self) -> Result<usize, Loss> {
        let all = self.all();
        self.up(&all).await?;
        let end = deadline();
        loop {
            self.witness.hear_logs()?;
            let statuses = self.cluster.statuses().await;
            for status in statuses.iter().flatten() {
                self.witness.hear(status)?;
            }
            if let Some(leader) = self.cluster.leader_of(&statuses) {
                return Ok(leader);
            }
            self.still_run(&all, end)?;
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
            whole if whole > NODES / 2 => Ok(()),
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
