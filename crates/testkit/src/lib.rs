//! Fakes that behave, generators and fixtures for the workspace's tests.
