//! The integration tests: the whole program and the library's public face against servers on loopback. One binary, so
//! that it links once; each module says what belongs there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(
    clippy::disallowed_methods,
    reason = "the rules are the program's; a test dials, times and spawns as it likes"
)]

/// What may be asked for, where no probe connects, whose credentials go where.
mod access;
/// The rules of the house: imports, headers of files, names in dashboards, rules and docs.
mod architecture;
/// The command line: exit codes and what is printed.
mod cli;
/// Name servers, good and bad; what is remembered; whose address wins.
mod dns;
/// One name, several edges: series of their own, and what they make together.
mod edges;
/// Peers that stall, flood, lie or break off, and what a probe of them may cost.
mod hostile;
/// Thousands of targets at once.
mod load;
/// Address, SNI and Host, over redirects too, and who gets to see credentials.
mod names;
/// Every prober through every kind of proxy.
mod proxies;
/// Every endpoint of the lab, through every door.
mod scenarios;
/// The scheduler: ticks, retries, totals.
mod schedule;
/// Secrets in every place that takes one, looked for in every place that prints.
mod secrets;
/// Our own HTTP: parameters, formats, reload, shutdown.
mod server;
/// OAuth 2.0: who asks for a token how often, and who is shown it.
mod token;
/// WebSocket frames, scripts and closes, good and bad.
mod websocket;
/// What the tests are made of: an exporter, a client, pages read back, peers.
mod world;
