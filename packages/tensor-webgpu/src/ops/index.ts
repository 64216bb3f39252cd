import '../gradients.ts';
