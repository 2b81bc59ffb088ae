"""What latent-diffusion methods share: backbone, text, control branch, trainer, sampler."""
