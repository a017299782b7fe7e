//! Which of the two formats a client gets: the Accept header in, a format and its content type out.

use super::to_text;

/// An exposition format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that the Accept header likes best; text when it names neither.
    ///
    /// The highest q wins, of equals the first (RFC 9110 section 12.5.1). OpenMetrics is only given to who accepts 1.0.0.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.unwrap_or_default().split(',') {
            if let Some((format, quality)) = Self::wanted(range)
                && quality > best.1
            {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The content type of its pages.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A page of [`super::render`] in this format.
    pub fn page(self, openmetrics: String) -> String {
        match self {
            Self::Text => to_text(&openmetrics),
            Self::OpenMetrics => openmetrics,
        }
    }

    /// The format that serves one media range, with the range's quality. An unreadable quality is none.
    fn wanted(range: &str) -> Option<(Self, f32)> {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut quality) = (None, 1.0);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.parse().unwrap_or(0.0),
                "version" => version = Some(value),
                _ => {}
            }
        }
        let format = match media.as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => Self::OpenMetrics,
            "text/plain" | "text/*" | "*/*" => Self::Text,
            _ => return None,
        };
        Some((format, quality))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_format_wins_and_text_serves_everyone_else() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            (prometheus_3, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.5", Format::Text),
            ("text/plain;q=0.3,application/openmetrics-text;q=0.5", Format::OpenMetrics),
            ("text/plain,application/openmetrics-text", Format::Text),
            ("application/openmetrics-text,text/plain", Format::OpenMetrics),
            ("*/*,application/openmetrics-text", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x,*/*;q=0.1", Format::Text),
            ("text/plain;q=0,application/openmetrics-text;q=0.1", Format::OpenMetrics),
            ("text/plain;q=0", Format::Text),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.7", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("", Format::Text),
            (";,;=", Format::Text),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::negotiate(Some(accept)), expected, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Format::Text);
    }

    #[test]
    fn pages_end_as_their_format_asks() {
        let page = "# HELP a b\n# TYPE a gauge\na 1\n# EOF\n";
        assert!(Format::OpenMetrics.page(page.into()).ends_with("a 1\n# EOF\n"));
        assert!(Format::Text.page(page.into()).ends_with("a 1\n"));
    }
}
