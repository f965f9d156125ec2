//! One connection to the runtime: registration, and then requests until it ends.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use prost::Message;

use crate::messages::{
    ConfigureRequest, ConfigureResponse, Container, ContainerAdjustment, ContainerRequest,
    CreateContainerResponse, Empty, PodSandbox, RegisterPluginRequest, StateChangeEvent, SynchronizeRequest,
    SynchronizeResponse,
};
use crate::mux::{self, MuxError};
use crate::plugin::{Events, Plugin, Rejection, Runtime};
use crate::plugin_id::PluginId;
use crate::ttrpc::{self, Incoming, Request, Response, TtrpcError};

/// The package of NRI's services.
const PACKAGE: &str = "nri.pkg.api.v1alpha1";

/// Why a connection to the runtime cannot be made, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The socket cannot be connected to.
    #[error("cannot connect to the runtime")]
    Connect(#[source] io::Error),
    /// The runtime has not registered the plugin when the connection ended, or does not answer.
    #[error("the runtime does not register the plugin (is this the socket of NRI?)")]
    NotRegistered(#[source] MuxError),
    /// The runtime rejects the registration, for this reason.
    #[error("the runtime rejects the plugin: {0}")]
    Rejected(String),
    /// The connection has ended.
    #[error("the connection to the runtime has ended")]
    Ended(#[from] MuxError),
    /// The runtime does not speak ttrpc, or not as NRI does.
    #[error("the runtime sends what is not NRI")]
    Ttrpc(#[from] TtrpcError),
}

/// Registers the plugin on this connection and serves it until the connection ends. `configured` is called as soon as the runtime knows
/// the plugin.
pub(crate) fn serve<S: Read + Write>(
    stream: &mut S,
    id: &PluginId,
    plugin: &mut impl Plugin,
    configured: impl FnOnce(&mut S) -> io::Result<()>,
) -> Result<Infallible, SessionError> {
    let register =
        RegisterPluginRequest { plugin_name: id.name().to_owned(), plugin_idx: id.index().to_owned() };
    let register = Request {
        service: format!("{PACKAGE}.Runtime"),
        method: "RegisterPlugin".to_owned(),
        payload: register.encode_to_vec(),
    };
    mux::write(stream, mux::RUNTIME_SERVICE, &ttrpc::request(1, &register))?;
    let (mut requests, mut responses) = (Incoming::default(), Incoming::default());
    let mut known = Known::default();
    let mut configured = Some(configured);
    loop {
        let frame = mux::read_frame(stream).map_err(|error| match configured {
            Some(_) => SessionError::NotRegistered(error),
            None => error.into(),
        })?;
        match frame.connection {
            mux::PLUGIN_SERVICE => requests.push(&frame.payload),
            mux::RUNTIME_SERVICE => responses.push(&frame.payload),
            // As for the other side: nobody has opened this connection.
            _ => {}
        }
        // The response to the registration may come after the first request.
        while let Some((_, response)) = responses.response()? {
            if let Some(message) = response.failure() {
                return Err(SessionError::Rejected(message.to_owned()));
            }
        }
        while let Some((stream_id, request)) = requests.request()? {
            let response = answer(plugin, &mut known, &request);
            mux::write(stream, mux::PLUGIN_SERVICE, &ttrpc::response(stream_id, &response))?;
            if request.method == "Configure"
                && let Some(configured) = configured.take()
            {
                configured(stream).map_err(MuxError::from)?;
            }
        }
    }
}

/// The pods and containers that the runtime has told of so far. It does so in parts if there are many.
#[derive(Default)]
struct Known {
    pods: Vec<PodSandbox>,
    containers: Vec<Container>,
}

/// The plugin's answer to a request. One that cannot be decoded is rejected: the runtime then does not go on.
fn answer(plugin: &mut impl Plugin, known: &mut Known, request: &Request) -> Response {
    let payload = &*request.payload;
    if request.service.strip_prefix(PACKAGE) != Some(".Plugin") {
        return Response::unimplemented(&format!("{}/{}", request.service, request.method));
    }
    let answer = match &*request.method {
        "Configure" => decode(payload).map(|request: ConfigureRequest| {
            plugin.connected(&Runtime { name: request.runtime_name, version: request.runtime_version });
            Response::ok(&ConfigureResponse { events: plugin.events().bits() })
        }),
        "Synchronize" => decode(payload).map(|request| synchronize(plugin, known, request)),
        "Shutdown" => {
            plugin.shutdown();
            Ok(Response::ok(&Empty {}))
        }
        "CreateContainer" => {
            decode(payload).and_then(|request| container_event(plugin, Events::CREATE_CONTAINER, request))
        }
        "StartContainer" => {
            decode(payload).and_then(|request| container_event(plugin, Events::START_CONTAINER, request))
        }
        "StopContainer" => {
            decode(payload).and_then(|request| container_event(plugin, Events::STOP_CONTAINER, request))
        }
        "RemoveContainer" => {
            decode(payload).and_then(|request| container_event(plugin, Events::REMOVE_CONTAINER, request))
        }
        "StateChange" => decode(payload).and_then(|StateChangeEvent { event, pod, container }| {
            match Events::numbered(event) {
                Some(event) => container_event(plugin, event, ContainerRequest { pod, container }),
                None => Ok(Response::ok(&Empty {})),
            }
        }),
        method => return Response::unimplemented(method),
    };
    answer.unwrap_or_else(Response::error)
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Rejection> {
    M::decode(payload).map_err(|error| Rejection::new(format!("the request cannot be decoded: {error}")))
}

fn synchronize(plugin: &mut impl Plugin, known: &mut Known, request: SynchronizeRequest) -> Response {
    known.pods.extend(request.pods);
    known.containers.extend(request.containers);
    if !request.more {
        let Known { pods, containers } = std::mem::take(known);
        plugin.synchronize(&pods, &containers);
    }
    Response::ok(&SynchronizeResponse { more: request.more })
}

fn container_event(
    plugin: &mut impl Plugin,
    event: Events,
    request: ContainerRequest,
) -> Result<Response, Rejection> {
    let (pod, container) = (request.pod.unwrap_or_default(), request.container.unwrap_or_default());
    match event {
        Events::CREATE_CONTAINER => {
            let hooks = Some(plugin.create_container(&pod, &container)?.hooks);
            return Ok(Response::ok(&CreateContainerResponse {
                adjust: Some(ContainerAdjustment { hooks }),
            }));
        }
        Events::START_CONTAINER => plugin.start_container(&pod, &container)?,
        Events::STOP_CONTAINER => plugin.stop_container(&pod, &container)?,
        Events::REMOVE_CONTAINER => plugin.remove_container(&pod, &container)?,
        // One that nobody subscribes to.
        _ => {}
    }
    Ok(Response::ok(&Empty {}))
}

#[cfg(test)]
mod tests;
