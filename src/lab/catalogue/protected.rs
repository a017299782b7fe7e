//! The rows of the catalogue that want a bearer token, and the modules that get none.

use super::super::{Expected, Seen, http::Reply, oauth2, ws::Behaviour};
use super::{Entry, GOOD, Serves, fails, hello};
use ::http::StatusCode;

/// Every endpoint behind OAuth 2.0.
pub(super) const TABLE: &[Entry] = &[
    site("token", "oauth2", Expected::Success, "wants a bearer token, and gets one"),
    site("token-in-form", "oauth2_form", Expected::Success, "its token comes from a server that wants another form"),
    site("token-missing", "https", fails("processing", "status"), "wants a bearer token, and gets none"),
    site("token-refused", "oauth2_refused", fails("token", "token_refused"), "the token endpoint refuses the client"),
    site("token-junk", "oauth2_junk", fails("token", "token_refused"), "the token endpoint answers with a web page"),
    site("token-huge", "oauth2_huge", fails("token", "token_refused"), "the token endpoint answers with 16 MiB"),
    site("token-mac", "oauth2_mac", fails("token", "token_refused"), "the token is not a bearer token"),
    site("token-down", "oauth2_down", fails("token", "token_unavailable"), "the token endpoint answers with 503"),
    site("token-dead", "oauth2_dead", fails("token", "timeout"), "the token endpoint never answers"),
    site(
        "token-untrusted",
        "oauth2_untrusted",
        fails("token", "token_unavailable"),
        "the token endpoint's certificate ended yesterday",
    ),
    Entry {
        name: "wss-token",
        module: "wss_oauth2",
        expected: Expected::Success,
        serves: Serves::Wss(GOOD, Behaviour::Protected),
        about: "a WebSocket server that wants a bearer token, and gets one",
    },
];

/// A site that wants a token.
const fn site(name: &'static str, module: &'static str, expected: Expected, about: &'static str) -> Entry {
    Entry { name, module, expected, serves: Serves::Https(GOOD, protected), about }
}

fn protected(seen: &Seen) -> Reply {
    if oauth2::is_authorized(&seen.headers) { hello(seen) } else { Reply::new(StatusCode::UNAUTHORIZED, "who?\n") }
}
