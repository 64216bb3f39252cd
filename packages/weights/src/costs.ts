/** One attention layer: softmax(Q K') V over `windows` groups of `tokens`. */
export interface Attention {
  /** The weight whose axis 0 is heads * (width of q + width of k + width of v). */
  qkv: string;
  /** The weight whose axis 1 is heads * width of v. */
  proj: string;
  windows: number;
  /** Tokens in each window, padding included. */
  tokens: number;
}

/** What a model does with its weights for one image; with the weights' shapes this gives its multiply-adds. */
export interface Costs {
  /** Weight name -> positions at which the matrix or kernel is applied. */
  applications: Readonly<Record<string, number>>;
  /** Weight whose axis 0 an activation function follows -> positions at which it is computed. */
  activations: Readonly<Record<string, number>>;
  /** Bias -> how often the paper's counter takes it: the patch embedding's at each position, a linear layer's once. */
  biases: Readonly<Record<string, number>>;
  attention: readonly Attention[];
}
