package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// CreateBrand creates a brand with the default policy, purposes and budgets.
func (c *Client) CreateBrand(ctx context.Context, req api.Brand) (*api.Brand, error) {
	return ask[api.Brand](ctx, c, http.MethodPost, Path("brands"), req)
}

// Brands lists the brands where the caller has a role.
func (c *Client) Brands(ctx context.Context) ([]api.Brand, error) {
	return list[api.Brand](ctx, c, Path("brands"))
}

// LoyaltyPrefixes returns the ranges of a brand's own numbers.
func (c *Client) LoyaltyPrefixes(ctx context.Context, brand string) (*api.LoyaltyPrefixes, error) {
	return ask[api.LoyaltyPrefixes](ctx, c, http.MethodGet, at(brand, "loyalty-prefixes"), nil)
}

// DefaultCountry returns the country of a brand's national phone numbers.
func (c *Client) DefaultCountry(ctx context.Context, brand string) (*api.BrandCountry, error) {
	return ask[api.BrandCountry](ctx, c, http.MethodGet, at(brand, "default-country"), nil)
}

// SetDefaultCountry sets the country of a brand's national phone numbers: of those in
// rows, and of customers, without a country. An empty one takes it away.
func (c *Client) SetDefaultCountry(ctx context.Context, brand string, req api.BrandCountry) (*api.BrandCountry, error) {
	return ask[api.BrandCountry](ctx, c, http.MethodPut, at(brand, "default-country"), req)
}

// SetLoyaltyPrefixes declares the ranges of a brand's own numbers. Empty lists take the
// declaration back.
func (c *Client) SetLoyaltyPrefixes(ctx context.Context, brand string, req api.LoyaltyPrefixes) (*api.LoyaltyPrefixes, error) {
	return ask[api.LoyaltyPrefixes](ctx, c, http.MethodPut, at(brand, "loyalty-prefixes"), req)
}

// Settings returns a brand's settings.
func (c *Client) Settings(ctx context.Context, brand string) (*api.Settings, error) {
	return ask[api.Settings](ctx, c, http.MethodGet, at(brand, "settings"), nil)
}

// SetSettings changes some of a brand's settings and returns what differs; dryRun changes
// nothing.
func (c *Client) SetSettings(ctx context.Context, brand string, req api.SettingsChange, dryRun bool) (*api.SettingsSet, error) {
	return ask[api.SettingsSet](ctx, c, http.MethodPatch, query(at(brand, "settings"), "dry_run", dry(dryRun)), req)
}

// SettingsHistory returns versions of a brand's settings, the newest first, before a
// version or with 0 from the newest.
func (c *Client) SettingsHistory(ctx context.Context, brand string, before, limit int) (*api.SettingsHistory, error) {
	return ask[api.SettingsHistory](ctx, c, http.MethodGet, query(at(brand, "settings", "history"), "before", some(before), "limit", some(limit)), nil)
}

// Purposes lists a brand's purposes.
func (c *Client) Purposes(ctx context.Context, brand string) ([]api.Purpose, error) {
	return list[api.Purpose](ctx, c, at(brand, "purposes"))
}

// CreatePurpose registers a purpose with its legal basis.
func (c *Client) CreatePurpose(ctx context.Context, brand string, req api.Purpose) (*api.Purpose, error) {
	return ask[api.Purpose](ctx, c, http.MethodPost, at(brand, "purposes"), req)
}

// RetirePurpose retires a purpose.
func (c *Client) RetirePurpose(ctx context.Context, brand, name string) error {
	return c.Do(ctx, http.MethodDelete, at(brand, "purposes", name), nil, nil)
}

// Policy returns a brand's policy.
func (c *Client) Policy(ctx context.Context, brand string) (*api.Policy, error) {
	return ask[api.Policy](ctx, c, http.MethodGet, at(brand, "policy"), nil)
}

// ApplyPolicy replaces a brand's policy and returns who gains and loses what; dryRun changes
// nothing.
func (c *Client) ApplyPolicy(ctx context.Context, brand string, req api.Policy, dryRun bool) (*api.PolicyDiff, error) {
	return ask[api.PolicyDiff](ctx, c, http.MethodPut, query(at(brand, "policy"), "dry_run", dry(dryRun)), req)
}

// Budgets returns a brand's budgets.
func (c *Client) Budgets(ctx context.Context, brand string) (*api.BudgetRules, error) {
	return ask[api.BudgetRules](ctx, c, http.MethodGet, at(brand, "budgets"), nil)
}

// SetBudgets replaces a brand's budgets and returns whose loss bound changes; dryRun
// changes nothing. Empty rules set the defaults.
func (c *Client) SetBudgets(ctx context.Context, brand string, req api.BudgetRules, dryRun bool) (*api.BudgetsSet, error) {
	return ask[api.BudgetsSet](ctx, c, http.MethodPut, query(at(brand, "budgets"), "dry_run", dry(dryRun)), req)
}
