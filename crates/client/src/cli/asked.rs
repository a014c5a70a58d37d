//! Calls of the service of who is let in, made for an operator.

/// Asks the leader, wherever it is; what was not executed is asked again, and what may be asked twice (`Effect::None`) also if its answer was lost.
macro_rules! asked {
    ($client:expr, $effect:ident, $method:ident, $request:expr) => {{
        let client: &$crate::client::Client = $client;
        let request = $request;
        let mut tries = $crate::tries::Tries::of_operator(&client.pool, client.options.timeout);
        loop {
            let node = tries.next().await?;
            let bound = tries.attempt_bound();
            match $crate::tries::attempt(bound, $crate::fault::Effect::$effect, node.trust().$method(request.clone())).await {
                Ok(answer) => break answer,
                Err(fault) => tries.failed(&node, fault).await?,
            }
        }
    }};
}

pub(super) use asked;
