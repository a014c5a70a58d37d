//! A blob on its way to this disk: chunks in, a durable file out, or nothing.

use bytes::Bytes;
use storage::{BlobHash, Blobs};
use tokio::{sync::mpsc, task::JoinHandle};

use super::CHUNKS_QUEUED;
use crate::node::Node;

/// Dropped without `finish`, it leaves nothing behind.
#[derive(Debug)]
pub struct Sink {
    steps: mpsc::Sender<Step>,
    done: JoinHandle<Result<Option<u64>, storage::Error>>,
}

/// Why a blob did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the writer was lost")]
    Lost,
}

#[derive(Debug)]
enum Step {
    Chunk(Bytes),
    Finish(BlobHash),
}

impl Sink {
    pub fn open(node: &Node) -> Sink {
        let (steps, queue) = mpsc::channel(CHUNKS_QUEUED);
        let (blobs, fatal) = (node.blobs.clone(), node.fatal.clone());
        let done = tokio::task::spawn_blocking(move || write(&blobs, queue).inspect_err(|error| fatal.judge_blob(error)));
        Sink { steps, done }
    }

    /// Waits while the disk is behind.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), SinkError> {
        match self.steps.send(Step::Chunk(chunk)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Verified, synced, renamed, directory synced: its size, or why not.
    pub async fn finish(mut self, hash: BlobHash) -> Result<u64, SinkError> {
        if self.steps.send(Step::Finish(hash)).await.is_err() {
            return Err(self.failure().await);
        }
        match self.done.await {
            Ok(Ok(Some(size))) => Ok(size),
            Ok(Err(error)) => Err(error.into()),
            _ => Err(SinkError::Lost),
        }
    }

    async fn failure(&mut self) -> SinkError {
        match (&mut self.done).await {
            Ok(Err(error)) => error.into(),
            _ => SinkError::Lost,
        }
    }
}

fn write(blobs: &Blobs, mut queue: mpsc::Receiver<Step>) -> Result<Option<u64>, storage::Error> {
    let mut writer = blobs.create()?;
    while let Some(step) = queue.blocking_recv() {
        match step {
            Step::Chunk(bytes) => writer.write(&bytes)?,
            Step::Finish(hash) => return writer.finish_as(&hash).map(|(_, size)| Some(size)),
        }
    }
    Ok(None)
}
