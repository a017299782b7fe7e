//! edgeprobe: probes HTTPS, WSS and TLS endpoints, says why a probe failed, and exposes everything to Prometheus.

pub mod app;
pub mod board;
pub mod cli;
pub mod config;
pub mod engine;
pub mod lab;
pub mod metrics;
pub mod model;
mod probe;
pub mod schedule;
pub mod server;
pub mod show;
