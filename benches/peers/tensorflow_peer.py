#!/usr/bin/env python3
"""TensorFlow as a peer: see protocol.py.

Modes: `graph` (tf.function, oneDNN kernels), `xla` (jit_compile), and, in a process of its own
because TensorFlow decides it once, `--onednn off`: `graph-eigen` (tf.function, Eigen kernels).
TensorFlow's own default depends on the CPU; here it does not.
"""

import os
import sys

THREADS = int(os.environ.get("PEER_THREADS", "2"))
EIGEN = "--onednn" in sys.argv and sys.argv[sys.argv.index("--onednn") + 1] == "off"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0" if EIGEN else "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures"))

import keras
import keras_models
import numpy as np
import protocol
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
tf.get_logger().setLevel("ERROR")


def prepare(name, mode, what):
    model = keras_models.build(name)
    assert model.count_params() == protocol.MODELS[name][2]
    jit = mode == "xla"
    batches = [
        (tf.constant(x), tf.one_hot(y, model.output_shape[-1]))
        for x, y in protocol.problem(name, protocol.rows_of(what))
    ]
    if what == "train_step":
        trainable = model.trainable_variables
        optimizer = keras_models.optimizer(keras_models.MODELS[name][3])
        optimizer.build(trainable)

        @tf.function(jit_compile=jit)
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    keras.losses.categorical_crossentropy(y, model(x, training=True))
                )
            optimizer.apply(tape.gradient(loss, [v.value for v in trainable]), trainable)
            return loss

        return lambda i: step(*batches[i % len(batches)]).numpy()

    predict = tf.function(lambda x: model(x, training=False), jit_compile=jit)
    return lambda i: predict(batches[i % len(batches)][0]).numpy()


if __name__ == "__main__":
    modes = ("graph-eigen",) if EIGEN else ("graph", "xla")
    measures = [(m, mode, w) for m in protocol.MODELS for mode in modes for w in protocol.WHATS]
    version = f"tensorflow {tf.__version__} keras {keras.__version__} numpy {np.__version__}"
    protocol.main("tensorflow", version, THREADS, measures, prepare)
