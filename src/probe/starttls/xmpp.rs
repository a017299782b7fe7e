//! XMPP's STARTTLS for clients (RFC 6120 section 5). Looks at one tag after the other; that is no XML parser, but an XMPP
//! stream may not hold what would need one: comments, processing instructions, own entities (section 11.1).

use super::{StartTlsError, talk::Talk};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:xmpp-tls";

pub(super) async fn start(talk: &mut Talk, name: &str) -> Result<(), StartTlsError> {
    // The name is a DNS name or an address, as TLS takes it: no character of it means anything in XML.
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{}' version='1.0'>",
        name.trim_end_matches('.')
    );
    talk.ask(header.as_bytes(), "the stream's header").await?;
    if talk.peek().await? != [b'<'] {
        return Err(talk.garbage());
    }
    let mut header = tag(talk).await?;
    if header.name == "?xml" {
        header = tag(talk).await?;
    }
    if header.name != "stream" {
        return Err(header.refused(talk).await);
    }
    talk.expect("the list of features");
    if !offers_starttls(talk).await? {
        return Err(talk.refusal("does not offer starttls"));
    }
    talk.ask(format!("<starttls xmlns='{NAMESPACE}'/>").as_bytes(), "the answer to starttls").await?;
    let answer = tag(talk).await?;
    if answer.name != "proceed" {
        return Err(answer.refused(talk).await);
    }
    if !answer.is_empty() {
        let end = tag(talk).await?;
        if end.name != "/proceed" {
            return Err(end.refused(talk).await);
        }
    }
    Ok(())
}

/// Reads the features to their end.
async fn offers_starttls(talk: &mut Talk) -> Result<bool, StartTlsError> {
    let features = tag(talk).await?;
    if features.name != "features" {
        return Err(features.refused(talk).await);
    }
    let mut offered = false;
    let mut at_end = features.is_empty();
    while !at_end {
        let tag = tag(talk).await?;
        offered |= tag.name == "starttls" && tag.text.contains(NAMESPACE);
        at_end = tag.name == "/features";
    }
    Ok(offered)
}

/// One tag, with the text before it.
struct Tag {
    /// Its name without prefix; a closing tag's begins with a slash.
    name: String,
    text: String,
}

/// The next tag.
async fn tag(talk: &mut Talk) -> Result<Tag, StartTlsError> {
    let bytes = talk.take_until(b'>').await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some((_, inside)) = text.split_once('<') else { return Err(talk.refused(&bytes)) };
    let (slash, inside) = inside.strip_prefix('/').map_or(("", inside), |rest| ("/", rest));
    let end = inside.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(inside.len());
    let local = inside[..end].rsplit(':').next().unwrap_or_default();
    Ok(Tag { name: format!("{slash}{local}"), text })
}

impl Tag {
    fn is_empty(&self) -> bool {
        self.text.ends_with("/>")
    }

    /// This tag came in place of the right one. What is in an error says more: `<stream:error><host-unknown/>`.
    async fn refused(&self, talk: &mut Talk) -> StartTlsError {
        let says_more = matches!(self.name.as_str(), "error" | "failure") && !self.is_empty();
        let more = if says_more { talk.take_until(b'>').await.unwrap_or_default() } else { Vec::new() };
        talk.refused(&[self.text.as_bytes(), &more].concat())
    }
}
