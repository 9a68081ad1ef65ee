"""Streams over HTTP, WebRTC and a control socket."""
