//! A stream of calls to one node, without any of the client library's kindness.

use std::time::Duration;

use bytes::Bytes;
use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::{CallRequest, CallResponse, ErrorDetail, GetRequest, Outcome, Reason, SetRequest};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::kv::{Failure, Kv};

const ANSWER_TIMEOUT_MS: u64 = 20_000;

/// What is sent waits in `requests` until the node takes it.
pub struct Calls {
    pub requests: mpsc::Sender<CallRequest>,
    pub answers: Streaming<CallResponse>,
}

impl Calls {
    pub async fn open(kv: &Kv) -> Result<Calls, Status> {
        let (requests, queue) = mpsc::channel(1);
        let mut service = kv.service();
        let opened = timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), service.calls(ReceiverStream::new(queue))).await;
        let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no stream")))?;
        Ok(Calls { requests, answers: opened.into_inner() })
    }

    pub async fn send(&self, tag: u64, call: Option<Call>) -> Result<(), Status> {
        self.requests.send(CallRequest { tag, call }).await.map_err(|_| Status::unavailable("the node ended the stream"))
    }

    /// The next answer, whatever call it belongs to; an error when the stream has ended.
    pub async fn next(&mut self) -> Result<(u64, Result<Answer, Failure>), Status> {
        let answer = timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), self.answers.message()).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))?;
        let CallResponse { tag, answer } = answer.ok_or_else(|| Status::unavailable("the node ended the stream"))?;
        let answer = match answer.expect("an answer has a kind") {
            Answer::Error(detail) => Err(detail.into()),
            other => Ok(other),
        };
        Ok((tag, answer))
    }

    /// Reads a small key, with no other call under way.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Failure> {
        self.send(0, Some(get(key))).await?;
        match self.next().await? {
            (0, Ok(Answer::Get(response))) => Ok(response.meta.map(|_| response.value)),
            (0, Err(failure)) => Err(failure),
            other => panic!("not the answer to a read: {other:?}"),
        }
    }
}

pub fn get(key: &[u8]) -> Call {
    Call::Get(GetRequest { key: Bytes::copy_from_slice(key) })
}

pub fn set(key: &[u8], value: impl Into<Bytes>) -> Call {
    Call::Set(SetRequest { key: Bytes::copy_from_slice(key), value: value.into(), ..Default::default() })
}

impl From<ErrorDetail> for Failure {
    fn from(detail: ErrorDetail) -> Failure {
        let (outcome, reason): (Outcome, Reason) = (detail.outcome(), detail.reason());
        Failure { outcome, reason, message: detail.message }
    }
}
