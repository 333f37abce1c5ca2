package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// brandRoutes serve brands, what they say of their own numbers, and the purposes for which their
// customers are read.
func (s *Server) brandRoutes() {
	route(s, "POST", "/v1/brands", "brand-create", "Create a brand", s.createBrand, once)
	route(s, "GET", "/v1/brands", "brand-list", "List the brands where you have a role", s.listBrands)
	route(s, "GET", "/v1/brands/{brand}/loyalty-prefixes", "loyalty-prefix-list", "Show the ranges of the brand's own numbers", s.loyaltyPrefixes)
	route(s, "GET", "/v1/brands/{brand}/erasure-cooling", "erasure-cooling-show", "Show how long erased customers' keys lie aside", s.cooling)
	route(s, "GET", "/v1/brands/{brand}/erasure-state", "erasure-state", "What is left of erasures: those that can be taken back, destroyed keys that no rotation has followed", s.erasureState)
	route(s, "PUT", "/v1/brands/{brand}/erasure-cooling", "erasure-cooling-set", "Set how long erased customers' keys lie aside", s.setCooling, once)
	route(s, "GET", "/v1/brands/{brand}/erasure-tombstones", "erasure-tombstones-show", "Show how long erased customers are kept out of imports", s.tombstones)
	route(s, "PUT", "/v1/brands/{brand}/erasure-tombstones", "erasure-tombstones-set", "Set how long erased customers are kept out of imports", s.setTombstones, once)
	route(s, "PUT", "/v1/brands/{brand}/loyalty-prefixes", "loyalty-prefix-set", "Declare the ranges of the brand's own numbers", s.setLoyaltyPrefixes, once)
	route(s, "GET", "/v1/brands/{brand}/default-country", "default-country-show", "Show the country of the brand's national phone numbers", s.brandCountry)
	route(s, "PUT", "/v1/brands/{brand}/default-country", "default-country-set", "Set the country of the brand's national phone numbers", s.setBrandCountry, once)
	route(s, "GET", "/v1/brands/{brand}/settings", "settings-show", "Show the brand's settings", s.settings)
	route(s, "PATCH", "/v1/brands/{brand}/settings", "settings-set", "Change settings, or with dry_run show what would differ; what weakens something needs a second person", s.setSettings, once)
	route(s, "GET", "/v1/brands/{brand}/settings/history", "settings-history", "Show versions of the brand's settings", s.settingsHistory)
	route(s, "GET", "/v1/brands/{brand}/purposes", "purpose-list", "List purposes", s.listPurposes)
	route(s, "POST", "/v1/brands/{brand}/purposes", "purpose-create", "Register a purpose", s.createPurpose, once)
	route(s, "DELETE", "/v1/brands/{brand}/purposes/{name}", "purpose-retire", "Retire a purpose", s.retirePurpose, once)
}

func (s *Server) createBrand(ctx context.Context, c identity.Caller, in *sent[api.Brand]) (*api.Brand, error) {
	return s.vault.Admin.CreateBrand(ctx, c, in.Body)
}

func (s *Server) listBrands(ctx context.Context, c identity.Caller, _ *none) ([]api.Brand, error) {
	return s.vault.Admin.Brands(ctx, c)
}

func (s *Server) cooling(ctx context.Context, c identity.Caller, in *BrandPath) (*api.ErasureCooling, error) {
	return s.vault.Admin.Cooling(ctx, c, in.Brand)
}

func (s *Server) erasureState(ctx context.Context, c identity.Caller, in *BrandPath) (*api.ErasureState, error) {
	return s.vault.Upkeep.Erasures(ctx, c, in.Brand)
}

func (s *Server) setCooling(ctx context.Context, c identity.Caller, in *sentTo[api.ErasureCooling]) (*api.ErasureCooling, error) {
	return s.vault.Admin.SetCooling(ctx, c, in.Brand, in.Body)
}

func (s *Server) tombstones(ctx context.Context, c identity.Caller, in *BrandPath) (*api.ErasureTombstones, error) {
	return s.vault.Admin.Tombstones(ctx, c, in.Brand)
}

func (s *Server) setTombstones(ctx context.Context, c identity.Caller, in *sentTo[api.ErasureTombstones]) (*api.ErasureTombstones, error) {
	return s.vault.Admin.SetTombstones(ctx, c, in.Brand, in.Body)
}

func (s *Server) loyaltyPrefixes(ctx context.Context, c identity.Caller, in *BrandPath) (*api.LoyaltyPrefixes, error) {
	return s.vault.Admin.LoyaltyPrefixes(ctx, c, in.Brand)
}

func (s *Server) setLoyaltyPrefixes(ctx context.Context, c identity.Caller, in *sentTo[api.LoyaltyPrefixes]) (*api.LoyaltyPrefixes, error) {
	return s.vault.Admin.SetLoyaltyPrefixes(ctx, c, in.Brand, in.Body)
}

func (s *Server) brandCountry(ctx context.Context, c identity.Caller, in *BrandPath) (*api.BrandCountry, error) {
	return s.vault.Admin.Country(ctx, c, in.Brand)
}

func (s *Server) setBrandCountry(ctx context.Context, c identity.Caller, in *sentTo[api.BrandCountry]) (*api.BrandCountry, error) {
	return s.vault.Admin.SetCountry(ctx, c, in.Brand, in.Body)
}

func (s *Server) settings(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Settings, error) {
	return s.vault.Admin.Settings(ctx, c, in.Brand)
}

func (s *Server) setSettings(ctx context.Context, c identity.Caller, in *triedAt[api.SettingsChange]) (*api.SettingsSet, error) {
	return s.vault.Admin.SetSettings(ctx, c, in.Brand, in.Body, !in.DryRun)
}

// settingsAsk asks for versions of settings.
type settingsAsk struct {
	BrandPath
	Before int `query:"before" minimum:"0" doc:"Versions before this one."`
	Limit  int `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

func (s *Server) settingsHistory(ctx context.Context, c identity.Caller, in *settingsAsk) (*api.SettingsHistory, error) {
	return s.vault.Admin.SettingsHistory(ctx, c, in.Brand, in.Before, in.Limit)
}

func (s *Server) listPurposes(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Purpose, error) {
	return s.vault.Admin.Purposes(ctx, c, in.Brand)
}

func (s *Server) createPurpose(ctx context.Context, c identity.Caller, in *sentTo[api.Purpose]) (*api.Purpose, error) {
	return &in.Body, s.vault.Admin.AddPurpose(ctx, c, in.Brand, in.Body)
}

func (s *Server) retirePurpose(ctx context.Context, c identity.Caller, in *Named) (*none, error) {
	return &none{}, s.vault.Admin.RetirePurpose(ctx, c, in.Brand, in.Name)
}
