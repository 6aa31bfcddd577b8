//! Byte rates as a real client meets them: slower, and nothing lost.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidegate_broker::{Broker, BrokerOptions, Listener, Rates};

use crate::client::{WAIT, config, consumer, create};

const RATE: usize = 1_000_000;
const RECORD_BYTES: usize = 50_000;
/// What three seconds let through. One second's worth comes at once, and the last is not waited for.
const N: usize = 3 * RATE / RECORD_BYTES;
const AT_LEAST: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producing_and_fetching_keep_to_their_rates() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions::new(directory.path(), Listener::loopback(0));
    options.client_rates = Rates { produce: Some(RATE as u64), fetch: Some(RATE as u64) };
    let broker = Broker::start(options).await.unwrap();
    let address = broker.address();
    create(address, "t", 1).await;
    tokio::task::block_in_place(|| {
        let producer: BaseProducer = config(address).set("batch.size", "100000").create().unwrap();
        let (began, value) = (Instant::now(), vec![b'v'; RECORD_BYTES]);
        for _ in 0..N {
            producer.send(BaseRecord::<str, [u8]>::to("t").payload(&value)).unwrap();
        }
        producer.flush(WAIT).unwrap();
        assert!(began.elapsed() >= AT_LEAST, "{:?} for {N} records in", began.elapsed());

        let reader = consumer(address);
        reader.subscribe(&["t"]).unwrap();
        let (mut n_read, mut first) = (0, None);
        let deadline = Instant::now() + WAIT;
        while n_read < N {
            assert!(Instant::now() < deadline, "{n_read} of {N} read");
            let Some(message) = reader.poll(Duration::from_millis(100)) else { continue };
            message.unwrap();
            first.get_or_insert_with(Instant::now);
            n_read += 1;
        }
        let took = first.unwrap().elapsed();
        assert!(took >= AT_LEAST, "{took:?} for {N} records out");
    });
    broker.stop().await;
}
