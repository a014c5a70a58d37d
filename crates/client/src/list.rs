//! Keys in byte order, page by page, across broken connections.
//!
//! Each page is linearizable, the whole is no snapshot: a key written or deleted meanwhile may or may not appear. A listing that breaks goes
//! on behind the last key received, at any node, so no key appears twice.

use std::sync::Arc;

use bytes::Bytes;
use proto::v1;
use tonic::Streaming;

use crate::client::Client;
use crate::error::Error;
use crate::fault::{Effect, Fault};
use crate::meta::Meta;
use crate::pool::Node;
use crate::tries::attempt;

/// A key and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: Bytes,
    pub meta: Meta,
}

/// An open listing.
pub struct Listing {
    client: Client,
    prefix: Bytes,
    after: Bytes,
    left: Option<u64>,
    stream: Option<(Arc<Node>, Streaming<v1::ListResponse>)>,
    ended: bool,
}

impl Listing {
    pub(crate) fn new(client: Client, prefix: &[u8], after: &[u8], limit: Option<u64>) -> Listing {
        Listing {
            client,
            prefix: Bytes::copy_from_slice(prefix),
            after: Bytes::copy_from_slice(after),
            left: limit,
            stream: None,
            ended: limit == Some(0),
        }
    }

    /// The next keys, at least one; None at the end. The client's timeout bounds each page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Item>>, Error> {
        let mut tries = self.client.tries();
        while !self.ended {
            let (node, mut stream) = match self.stream.take() {
                Some(open) => open,
                None => {
                    let node = tries.next().await?;
                    match attempt(tries.attempt_bound(), Effect::None, node.kv().list(self.request())).await {
                        Ok(stream) => (node, stream),
                        Err(fault) => {
                            tries.failed(&node, fault).await?;
                            continue;
                        }
                    }
                }
            };
            let page = match tokio::time::timeout_at(tries.attempt_bound(), stream.message()).await {
                Ok(Ok(page)) => page.map(|page| self.accept(page)).transpose(),
                Ok(Err(status)) => Err(Fault::of(&status, Effect::None)),
                Err(_) => Err(Fault::timed_out(Effect::None)),
            };
            match page {
                Ok(None) => self.ended = true,
                Ok(Some(items)) => {
                    self.stream = Some((node, stream));
                    if !items.is_empty() {
                        return Ok(Some(items));
                    }
                }
                Err(fault) => tries.failed(&node, fault).await?,
            }
        }
        Ok(None)
    }

    fn request(&self) -> v1::ListRequest {
        v1::ListRequest { prefix: self.prefix.clone(), after: self.after.clone(), limit: self.left.unwrap_or(0) }
    }

    fn accept(&mut self, page: v1::ListResponse) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::with_capacity(page.items.len());
        for item in page.items {
            // Keys that do not rise would be listed for ever.
            let rises = item.key > self.after && item.key.starts_with(&self.prefix);
            let (true, Some(meta)) = (rises, item.meta) else { return Err(Fault::not_understood("keys out of order")) };
            self.after = item.key.clone();
            items.push(Item { key: item.key, meta: Meta::from_wire(meta)? });
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(items.len() as u64);
            self.ended = *left == 0;
        }
        Ok(items)
    }
}
