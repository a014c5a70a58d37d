//! One client's way to a store.

use bytes::Bytes;
use client::{Client, Value};
use tonic::transport::Channel;

use super::VALUE_BYTES;
use crate::call_raw;

#[derive(Clone)]
pub enum Caller {
    /// Our client library.
    Library(Client),
    /// Unary gRPC, with messages made by hand: the least a client can cost.
    Plain { channel: Channel, methods: Methods },
}

/// A store's unary methods.
#[derive(Clone, Copy)]
pub struct Methods {
    pub put: &'static str,
    pub get: &'static str,
    pub encode_put: fn(Bytes, Bytes) -> Vec<u8>,
    pub encode_get: fn(Bytes) -> Vec<u8>,
}

impl Caller {
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<(), String> {
        match self {
            Caller::Library(client) => client.set(&key, value, None).await.map(drop).map_err(|error| error.to_string()),
            Caller::Plain { channel, methods } => {
                let message = (methods.encode_put)(key, value).into();
                call_raw(channel.clone(), methods.put, message).await.map(drop).map_err(|status| status.to_string())
            }
        }
    }

    /// Reads a key that is there.
    pub async fn get(&self, key: Bytes) -> Result<(), String> {
        match self {
            Caller::Library(client) => match client.get(&key).await {
                Ok(Some(Value::Inline(_, value))) if value.len() == VALUE_BYTES => Ok(()),
                Ok(other) => Err(format!("not what was written: {other:?}")),
                Err(error) => Err(error.to_string()),
            },
            Caller::Plain { channel, methods } => {
                let message = (methods.encode_get)(key).into();
                match call_raw(channel.clone(), methods.get, message).await {
                    Ok(answer) if answer.len() > VALUE_BYTES => Ok(()),
                    Ok(answer) => Err(format!("an answer of {} bytes brings no value", answer.len())),
                    Err(status) => Err(status.to_string()),
                }
            }
        }
    }
}
