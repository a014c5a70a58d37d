//! The service of who is let in.

use std::sync::Arc;

use proto::v1::{self as wire, trust_server};
use tonic::{Request, Response, Status};
use trust::Role;

use crate::{caller::Caller, guard, node::Node};

#[derive(Clone)]
pub struct TrustService {
    node: Arc<Node>,
}

impl TrustService {
    pub fn new(node: Arc<Node>) -> TrustService {
        TrustService { node }
    }
}

#[tonic::async_trait]
impl trust_server::Trust for TrustService {
    async fn admit(&self, request: Request<wire::AdmitRequest>) -> Result<Response<wire::AdmitResponse>, Status> {
        let caller = Caller::of(&request);
        guard::admit(&self.node, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Result<Response<wire::Certificate>, Status> {
        let caller = Caller::of(&request);
        guard::renew(&self.node, &caller, &request.into_inner().csr).await.map(Response::new)
    }

    async fn create_cluster(&self, request: Request<wire::CreateClusterRequest>) -> Result<Response<wire::CreateClusterResponse>, Status> {
        Caller::of(&request).is_local()?;
        guard::create(&self.node, request.into_inner().voters).await.map(Response::new)
    }

    async fn join_cluster(&self, request: Request<wire::JoinClusterRequest>) -> Result<Response<wire::JoinClusterResponse>, Status> {
        Caller::of(&request).is_local()?;
        guard::join(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn local_login(&self, request: Request<wire::RenewRequest>) -> Result<Response<wire::AdmitResponse>, Status> {
        Caller::of(&request).is_local()?;
        guard::local_login(&self.node, &request.into_inner().csr).await.map(Response::new)
    }

    async fn new_token(&self, request: Request<wire::NewTokenRequest>) -> Result<Response<wire::NewTokenResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        guard::new_token(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn list_tokens(&self, request: Request<wire::ListTokensRequest>) -> Result<Response<wire::ListTokensResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        guard::list_tokens(&self.node).await.map(Response::new)
    }

    async fn revoke_token(&self, request: Request<wire::RevokeTokenRequest>) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        guard::revoke_token(&self.node, &request.into_inner().id).await.map(Response::new)
    }

    async fn rotate_authority(
        &self,
        request: Request<wire::RotateAuthorityRequest>,
    ) -> Result<Response<wire::RotateAuthorityResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        guard::rotate(&self.node, request.into_inner().step()).await.map(Response::new)
    }
}
