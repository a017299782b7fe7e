//! For the tests of this folder: a router over an empty engine or one small module, asked without a socket.

use super::{Active, Options, ReloadRequest, State, router};
use crate::board::Board;
use crate::engine::{Engine, EngineOptions};
use crate::model::{Access, Module, ModuleName, Plan, Prober, TlsModule};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) struct World {
    pub(super) state: Arc<State>,
    pub(super) board: Arc<Board>,
    pub(super) reloads: Option<mpsc::Receiver<ReloadRequest>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A `tls` module that needs no file and no network until it is run.
pub(super) fn module(name: &str) -> Arc<Module> {
    let tls = TlsModule::default();
    Arc::new(Module::new(ModuleName::new(name), Prober::Tls(Box::new(tls)), "prober: tls\n"))
}

pub(super) fn world(modules: &[Arc<Module>], options: Options) -> World {
    let plan = Plan { modules: modules.to_vec(), ..Plan::default() };
    let engine = Engine::new(&plan, EngineOptions { max_in_flight: 10, key_log: false })
        .unwrap_or_else(|_| panic!("these modules need nothing"));
    let board = Arc::new(Board::new(100));
    let (reload, reloads) = mpsc::channel(1);
    let active = Active { engine: engine.into(), yaml: "modules: {}\n".into(), access: Access::default() };
    World { state: Arc::new(State::new(active, Arc::clone(&board), reload, options)), board, reloads: Some(reloads) }
}

impl World {
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub(super) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(router(Arc::clone(&self.state))).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
