/** Registers tfjs-core's gradients, which its Node entry leaves out, in the registry that all its copies share. */
import '@tensorflow/tfjs-core'; // first, so that the shared engine is this copy's
import '#tfjs-gradients';
